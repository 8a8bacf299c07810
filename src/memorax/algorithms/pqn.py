"""Parallelized Q-network: Q-learning without replay buffer or target network, recurrent or feed-forward."""

from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optax

from memorax import lox
from memorax.acting import AgentPolicy, Behavior, NormalizationConfig, OnPolicy, RolloutState, State, StepCount, Value
from memorax.core.checks import boolean, check_fields, integer, optional, real
from memorax.core.types import Array, Carry, Key, PyTree, Timestep, Transition
from memorax.learning.dropout import dropout
from memorax.learning.gvf import with_main_bootstrap
from memorax.learning.minibatches import append, as_single_steps, minibatch_indices, take
from memorax.learning.q_function import QFunction
from memorax.learning.rollout_config import check_rollout_config, rollout_minibatches
from memorax.learning.train_state import Schedule, TrainState, check_optimizers, check_schedule, linear_epsilon
from memorax.learning.values import (
    action_values,
    expected_values,
    first_steps,
    greedy_values,
    main_values,
    value_losses,
)
from memorax.networks import Network
from memorax.objectives import episode_ends, lambda_returns, weighted_mean

PQNState: TypeAlias = State
Metrics: TypeAlias = dict[str, Array]
_EPSILON_STEPS = 100_000


@dataclass(frozen=True)
class PQNConfig(NormalizationConfig):
    """Configuration of PQN."""

    num_envs: int = 32
    """Number of parallel environments."""
    num_steps: int = 64
    """Steps of each environment per rollout."""
    gamma: float = 0.99
    """Discount factor per step, [0, 1]."""
    td_lambda: float = 0.95
    """Lambda of the Q(lambda) targets, [0, 1]: 0 bootstraps after one step, 1 uses whole returns."""
    num_minibatches: int | None = None
    """Minibatches, and so gradient steps, per epoch. Divides `num_envs` for recurrent networks and `refresh_targets`,
    `num_envs * num_steps` for others. None: 16, or the largest divisor below."""
    update_epochs: int = 4
    """Epochs, passes through each rollout."""
    refresh_targets: bool = False
    """Whether to recompute the targets for every gradient step (else once per rollout, from values while acting)."""
    burn_in_length: int = 0
    """First steps of each rollout that only refresh the memory and are not learned from."""
    epsilon_start: float = 1.0
    """Initial epsilon, the probability of a random action, [0, 1]."""
    epsilon_end: float = 0.05
    """Final epsilon, [0, 1]."""
    epsilon_steps: int | None = None
    """Transitions over which epsilon is annealed linearly. None: a quarter of a run's `steps`; 100,000 for an agent
    that is built outside of a run, and does not know how long it will train."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_rollout_config(self)
        fractions = ("gamma", "td_lambda", "epsilon_start", "epsilon_end")
        check_fields(
            self, **dict.fromkeys(fractions, real(0, 1)), epsilon_steps=optional(integer(1)), refresh_targets=boolean()
        )

    def minibatches(self, recurrent: bool) -> int:
        """Give the number of minibatches per epoch, with networks that have a memory or have none."""
        sequences = recurrent or self.refresh_targets
        return rollout_minibatches(self, sequences, 16, "recurrent networks and refreshed targets")


class Batch(NamedTuple):
    """What PQN learns from, `[batch, time, ...]`; with `refresh_targets` the inputs have one step more."""

    inputs: Timestep
    action: Array
    reward: Array
    discount: Array
    hidden: Array
    target: Array
    auxiliary: PyTree


class PQN(OnPolicy[PQNConfig, QFunction]):
    """Parallelized Q-network: on-policy Q-learning towards lambda-returns, without replay buffer or target network.

    Each update acts for `num_steps`, computes Peng's Q(lambda),
    `G_t = r_t + gamma ((1 - lambda) max_a Q(x_{t+1}, a) + lambda G_{t+1})`, and moves `Q(x_t, a_t)` towards it over
    `update_epochs` passes through the rollout. Many environments and a network with LayerNorm stabilize learning in
    place of a replay buffer and a target network. Recurrent networks are trained on whole sequences from the memory
    that acting started with.

    Differs from the paper: truncated episodes bootstrap from the values of their final observation.

    Args:
        config: Configuration.
        env: Environment with Discrete or MultiDiscrete actions.
        env_params: Its parameters; None for its default ones.
        q_network: Network with a head that values all actions: `DiscreteQNetwork`, `HLGaussQNetwork`, or a `Horde` of
            these; `BranchingQNetwork` for MultiDiscrete actions.
        optimizer: Optimizer of its parameters.
        epsilon_schedule: Probability of a random action after so many transitions, `[]` or `[num_envs]`; None for the
            schedule of the configuration.

    Raises:
        TypeError: An argument is of the wrong type, or the head does not value discrete actions by scalars.
        ValueError: The head does not fit the action space, or `num_minibatches` does not divide the batch.

    Example:
        >>> agent = PQN(PQNConfig(), env, env_params, q_network, optax.radam(1e-3))
        >>> state = agent.init(jax.random.key(0))
        >>> state, logs = lox.spool(agent.train)(jax.random.key(1), state, num_steps=100_000)

    Source:
        Gallici et al. 2025, "Simplifying Deep Temporal Difference Learning", https://arxiv.org/abs/2407.04811;
        Peng and Williams 1996, "Incremental Multi-Step Q-Learning".
    """

    Config = PQNConfig

    def __init__(
        self,
        config: PQNConfig,
        env: Any,
        env_params: PyTree,
        q_network: Network,
        optimizer: optax.GradientTransformation,
        epsilon_schedule: Schedule | None = None,
    ) -> None:
        super().__init__(config, env, env_params)
        check_optimizers(optimizer=optimizer)
        self.epsilon_schedule = check_schedule(
            "epsilon_schedule", epsilon_schedule, linear_epsilon(config, _EPSILON_STEPS)
        )
        self.networks, self.optimizer = QFunction(self.vector_env, q_network, distributional=False), optimizer
        self.num_minibatches = config.minibatches(self.recurrent)
        self.burn_in = config.burn_in_length if self.recurrent else 0

    def init_learner(self, key: Key, rollout_state: RolloutState) -> TrainState:
        """Make the network and its optimizer."""
        return TrainState.create(self.optimizer, self.networks.init(key, rollout_state.timestep, rollout_state.carry))

    def policy(self, learner: TrainState, step: StepCount, behavior: Behavior) -> AgentPolicy:
        """Act epsilon-greedily by the schedule."""
        return self.networks.policy(learner.params, self.epsilon_schedule(step.as_float()), behavior)

    def value(self, learner: TrainState) -> Value:
        """Give the greedy value function."""
        return self.networks.value(learner.params)

    def learn(
        self, key: Key, learner: TrainState, trajectory: Transition, rollout_state: RolloutState, carry: Carry
    ) -> TrainState:
        """Learn from the rollout for `update_epochs` epochs."""
        batch = self.split(self.batch(learner, trajectory, rollout_state))

        def gradient_step(learner: TrainState, now: tuple[Array, Key]) -> tuple[TrainState, Metrics]:
            with dropout(now[1]):
                gradients, metrics = jax.grad(self.loss, has_aux=True)(learner.params, *take((batch, carry), now[0]))
            return learner.update(self.optimizer, gradients), metrics

        def epoch(learner: TrainState, i: Array) -> tuple[TrainState, Metrics]:
            epoch_key = jax.random.fold_in(key, i)
            indices = minibatch_indices(epoch_key, batch.action.shape[0], self.num_minibatches)
            keys = jax.random.split(jax.random.fold_in(epoch_key, 1), self.num_minibatches)
            return jax.lax.scan(gradient_step, learner, (indices, keys))

        learner, metrics = jax.lax.scan(epoch, learner, jnp.arange(self.config.update_epochs, dtype=jnp.uint32))
        lox.log({"losses": jax.tree.map(jnp.mean, metrics)})
        return learner

    def batch(self, learner: TrainState, trajectory: Transition, rollout_state: RolloutState) -> Batch:
        """Compute the Q(lambda) targets, and put the batch together."""
        last_value = self.value(learner)(rollout_state.carry, rollout_state.timestep)
        values = append(greedy_values(trajectory.aux["q"]), last_value)
        auxiliary = self.networks.auxiliary.targets(trajectory, values, self.config.td_lambda)
        reward, discount, hidden = episode_ends(with_main_bootstrap(trajectory), self.config.gamma)
        target = lambda_returns(reward, discount, hidden, main_values(values), self.config.td_lambda)
        refresh = self.config.refresh_targets
        inputs = append(trajectory.inputs, rollout_state.timestep) if refresh else trajectory.inputs
        return Batch(inputs, trajectory.action, reward, discount, hidden, target, auxiliary)

    def split(self, batch: Batch) -> Batch:
        """Split rollouts into what is shuffled: whole sequences, or single steps where these will do."""
        return batch if self.recurrent or self.config.refresh_targets else as_single_steps(batch)

    def loss(self, params: PyTree, batch: Batch, carry: Carry) -> tuple[Array, Metrics]:
        """Compute the loss of the values of the actions taken, and metrics."""
        networks, td_lambda = self.networks, self.config.td_lambda
        _, output, sown = networks.unroll_with_losses(params, batch.inputs, carry, self.burn_in)
        action, reward, discount, hidden, target, auxiliary = jax.tree.map(lambda x: x[:, self.burn_in :], batch[1:])
        if self.config.refresh_targets:
            values = jax.lax.stop_gradient(greedy_values(output))
            target = lambda_returns(reward, discount, hidden, main_values(values), td_lambda)
            auxiliary = networks.auxiliary.refresh(auxiliary, values, td_lambda)
        chosen = action_values(first_steps(output, action.shape[1]), action)
        weight = 1.0 - hidden
        loss = weighted_mean(value_losses(main_values(chosen), target), weight)
        metrics = {
            "q": loss,
            "q_value": weighted_mean(expected_values(chosen), weight),
            "td_error": weighted_mean(jnp.abs(target - expected_values(chosen)), weight),
        }
        auxiliary_losses = networks.auxiliary.losses(chosen, auxiliary, weight, sown)
        return auxiliary_losses.added_to(loss), auxiliary_losses.metrics | metrics
