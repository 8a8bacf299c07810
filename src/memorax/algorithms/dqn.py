"""Deep Q-learning, recurrent or feed-forward."""

import dataclasses
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import optax
from flax import struct

from memorax import lox
from memorax.acting import AgentPolicy, Behavior, OffPolicy, RolloutState, State, StepCount
from memorax.buffers.protocol import Buffer
from memorax.core.checks import boolean, check_fields, integer, optional, real
from memorax.core.types import Array, Carry, Key, PyTree, Transition
from memorax.learning.dropout import dropout
from memorax.learning.q_function import QFunction
from memorax.learning.replay import ReplayConfig, default_buffer, use_sequences
from memorax.learning.target_network import target_copy, update_target
from memorax.learning.train_state import Schedule, TrainState, check_optimizers, check_schedule, linear_epsilon
from memorax.learning.values import (
    NStepTargets,
    action_values,
    expected_values,
    first_steps,
    greedy_actions,
    main_values,
    temporal_differences,
)
from memorax.networks import Network
from memorax.objectives import episode_ends, weighted_mean

DQNState: TypeAlias = State
Metrics: TypeAlias = dict[str, Array]
_EPSILON_STEPS = 25_000


@dataclasses.dataclass(frozen=True)
class DQNConfig(ReplayConfig):
    """Configuration of DQN."""

    n_step: int = 1
    """Rewards in an n-step return before it bootstraps."""
    double: bool = True
    """Whether to use double Q-learning: the online network chooses the action that the target network values."""
    epsilon_start: float = 1.0
    """Initial epsilon, the probability of a random action, [0, 1]."""
    epsilon_end: float = 0.05
    """Final epsilon, [0, 1]."""
    epsilon_steps: int | None = None
    """Transitions over which epsilon is annealed linearly. None: a quarter of a run's `steps`; 25,000 for an agent that
    is built outside of a run, and does not know how long it will train."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fields(
            self,
            n_step=integer(1),
            double=boolean(),
            epsilon_start=real(0, 1),
            epsilon_end=real(0, 1),
            epsilon_steps=optional(integer(1)),
        )


@struct.dataclass
class DQNLearner:
    """The online network with its optimizer, and the parameters of the target network."""

    online: TrainState
    target: PyTree


class DQN(OffPolicy[DQNConfig, QFunction]):
    """DQN: Deep Q-network with replay buffer and target network.

    Each update draws sequences `x_0 .. x_T` from the replay buffer, unrolls both networks over them once, from the
    memory that acting had at `x_0`, and moves `Q(x_t, a_t)` towards the n-step return that bootstraps from the target
    network's value of the greedy action at a later column of the same unroll.

    Differs from the paper: double Q-learning, sequences may be longer than one step and networks may have a memory, and
    a step with a hidden successor (truncated) has no loss.

    Args:
        config: Configuration.
        env: Environment with Discrete or MultiDiscrete actions.
        env_params: Its parameters; None for its default ones.
        q_network: Network with a head that values all actions: `DiscreteQNetwork`, `C51QNetwork`, `HLGaussQNetwork`, or
            a `Horde` of these; `BranchingQNetwork` for MultiDiscrete actions.
        optimizer: Optimizer of its parameters.
        buffer: Replay buffer of sequences; None for the default one of the configuration.
        epsilon_schedule: Probability of a random action after so many transitions, `[]` or `[num_envs]`; None for the
            schedule of the configuration.

    Raises:
        TypeError: An argument is of the wrong type, or the head does not value discrete actions.
        ValueError: The head does not fit the action space, or configuration and replay buffer do not fit each other.

    Example:
        >>> agent = DQN(DQNConfig(), env, env_params, q_network, optax.adam(3e-4))
        >>> state = agent.warmup(jax.random.key(1), agent.init(jax.random.key(0)), num_steps=10_000)
        >>> state, logs = lox.spool(agent.train)(jax.random.key(2), state, num_steps=100_000)

    Source:
        Mnih et al. 2015, "Human-level control through deep reinforcement learning",
        https://doi.org/10.1038/nature14236; van Hasselt, Guez and Silver 2016, https://arxiv.org/abs/1509.06461;
        Hausknecht and Stone 2015, https://arxiv.org/abs/1507.06527.
    """

    Config = DQNConfig

    def __init__(
        self,
        config: DQNConfig,
        env: Any,
        env_params: PyTree,
        q_network: Network,
        optimizer: optax.GradientTransformation,
        buffer: Buffer | None = None,
        epsilon_schedule: Schedule | None = None,
    ) -> None:
        super().__init__(config, env, env_params)
        check_optimizers(optimizer=optimizer)
        self.networks, self.optimizer = QFunction(self.vector_env, q_network), optimizer
        self.epsilon_schedule = check_schedule("epsilon_schedule", epsilon_schedule, self.default_epsilon())
        use_sequences(self, buffer, self.default_buffer)
        self.burn_in = config.burn_in_length if self.recurrent else 0

    def default_epsilon(self) -> Schedule:
        """Make the epsilon schedule of the configuration."""
        return linear_epsilon(self.config, _EPSILON_STEPS)

    def default_buffer(self) -> Buffer:
        """Make the replay buffer of the configuration."""
        return default_buffer(self.config, self.recurrent, self.config.n_step, compact=self.compact_carry)

    def init_learner(self, key: Key, rollout_state: RolloutState) -> DQNLearner:
        """Make the network, its optimizer and the target network."""
        params = self.networks.init(key, rollout_state.timestep, rollout_state.carry)
        return DQNLearner(TrainState.create(self.optimizer, params), target_copy(params))

    def policy(self, learner: DQNLearner, step: StepCount, behavior: Behavior) -> AgentPolicy:
        """Act epsilon-greedily by the schedule."""
        return self.networks.policy(learner.online.params, self.epsilon_schedule(step.as_float()), behavior)

    def learn(self, key: Key, learner: DQNLearner, sample: Any, step: StepCount) -> tuple[DQNLearner, Array | None]:
        """Take one optimizer step, and update the target network where it is due."""
        batch = sample.experience
        carry = self.networks.replayed_carry(key, batch)
        arguments = learner.target, batch, carry, self.importance(sample, step)
        with dropout(jax.random.fold_in(key, 1)):
            gradients, (metrics, priorities) = jax.grad(self.loss, has_aux=True)(learner.online.params, *arguments)
        online = learner.online.update(self.optimizer, gradients)
        target = update_target(self.config, step, online.params, learner.target)
        lox.log({"losses": metrics})
        return DQNLearner(online, target), priorities

    def loss(
        self, params: PyTree, target_params: PyTree, batch: Transition, carry: Carry, importance: Array
    ) -> tuple[Array, tuple[Metrics, Array | None]]:
        """Compute the loss of a sample, metrics, and its priorities.

        Args:
            params: Parameters of the online network.
            target_params: Parameters of the target network.
            batch: `[batch, time + 1]`; the last step only bootstraps.
            carry: The memory before the first step.
            importance: Importance sampling weight of each sequence, `[batch]`.
        """
        output, sown = self.networks.unroll_to_bootstrap(params, batch.inputs, carry, self.burn_in)
        target_output = self.networks.unroll_successors(target_params, batch.inputs, carry, self.burn_in)
        batch = jax.tree.map(lambda x: x[:, self.burn_in : -1], dataclasses.replace(batch, carry=None))
        greedy = greedy_actions(output)[:, 1:] if self.config.double else greedy_actions(target_output)
        following = action_values(target_output, greedy)
        chosen = action_values(first_steps(output, batch.reward.shape[1]), batch.action)
        targets = self.targets(batch)
        losses, errors = temporal_differences(main_values(chosen), main_values(following), targets)
        weight = 1.0 - targets.hidden
        loss = weighted_mean(importance[:, None] * losses, weight)
        metrics = {
            "q": loss,
            "q_value": weighted_mean(expected_values(chosen), weight),
            "td_error": weighted_mean(jnp.abs(errors), weight),
        }
        auxiliary = self.networks.auxiliary.replayed_losses(batch, chosen, following, self.targets, importance, sown)
        priorities = self.priorities(jnp.abs(errors), weight)
        return auxiliary.added_to(loss), (auxiliary.metrics | metrics, priorities)

    def targets(self, batch: Transition, gamma: float | None = None) -> NStepTargets:
        """Give the n-step returns of a batch, with the discount of the configuration or another one."""
        return NStepTargets(*episode_ends(batch, self.config.gamma if gamma is None else gamma), self.config.n_step)

    def importance(self, sample: Any, step: StepCount) -> Array:
        """Give the importance sampling weight of each sequence: 1."""
        return jnp.ones(sample.experience.reward.shape[0])

    def priorities(self, errors: Array, weight: Array) -> Array | None:
        """Give new priorities of the sequences, from absolute TD errors: none."""
