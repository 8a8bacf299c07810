"""Q-learning from parallel environments: no replay, no target network; recurrent or feed-forward."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optax

from memorax import lox
from memorax.acting import Behavior, Loop, Model, NormalizationConfig, OnPolicy, Policy, Stage, State, Value
from memorax.acting.demons import Question, ask_anew, demon_losses, questions, seen_by_main
from memorax.acting.minibatches import append, as_single_steps, minibatch_indices, take
from memorax.acting.q_function import QFunction
from memorax.acting.value_outputs import best, choose, expected, losses, main, upto
from memorax.core.checks import between, divides, whole
from memorax.core.types import Array, Carry, Key, PyTree, Timestep, Transition
from memorax.networks import Network
from memorax.objectives import episode_ends, lambda_returns, weighted_mean

PQNState: TypeAlias = State
Metrics: TypeAlias = dict[str, Array]
Schedule: TypeAlias = Callable[[Array], Any]


@dataclass(frozen=True)
class PQNConfig(NormalizationConfig):
    """Configuration of PQN."""

    num_envs: int = 32
    """Environments that run side by side."""
    num_steps: int = 64
    """Steps of each environment between two updates."""
    gamma: float = 0.99
    """Discount per step, [0, 1]."""
    td_lambda: float = 0.95
    """Weight of longer returns in the target, [0, 1]: 0 looks one step ahead, 1 to the end."""
    num_minibatches: int = 16
    """Gradient steps per epoch. Divides `num_envs` for networks with memory and with `refresh_targets`,
    `num_envs * num_steps` otherwise."""
    update_epochs: int = 4
    """How often each rollout is gone through."""
    refresh_targets: bool = False
    """Whether every gradient step computes its targets anew. Off: once per rollout, by the values while acting."""
    burn_in_length: int = 0
    """First steps of each rollout that only refresh the memory and are not learned from."""
    epsilon_start: float = 1.0
    """Probability of a random action at the beginning, [0, 1]."""
    epsilon_end: float = 0.05
    """Probability of a random action at the end of its fall, [0, 1]."""
    epsilon_steps: int = 100_000
    """Transitions over which it falls linearly."""

    def __post_init__(self) -> None:
        for name in ("num_envs", "num_steps", "num_minibatches", "update_epochs", "epsilon_steps"):
            whole(self, name, 1)
        whole(self, "burn_in_length", 0)
        for name in ("gamma", "td_lambda", "epsilon_start", "epsilon_end"):
            between(self, name, 0, 1)
        if self.burn_in_length >= self.num_steps:
            raise ValueError(f"`burn_in_length` ({self.burn_in_length}) must be below `num_steps` ({self.num_steps})")


class Batch(NamedTuple):
    """What PQN learns from, `[batch, time, ...]`; with `refresh_targets` the inputs have one step more."""

    inputs: Timestep
    action: Array
    reward: Array
    discount: Array
    cut: Array
    target: Array
    demons: dict[str, Question]


class PQN(OnPolicy):
    """Learn the values of actions from what was just done, towards lambda-returns of the network itself.

    Each update acts for `num_steps`, computes Peng's Q(lambda),
    `G_t = r_t + gamma ((1 - lambda) max_a Q(x_{t+1}, a) + lambda G_{t+1})`, and moves `Q(x_t, a_t)` towards it over
    `update_epochs` passes through the rollout. What steadies it in place of a replay and a target network are many
    environments and a network with LayerNorm. Networks with memory are trained on whole sequences from the memory that
    acting started with.

    Differs from the paper: truncated episodes bootstrap from the values of their final observation.

    Args:
        config: Configuration.
        env: Environment.
        env_params: Its parameters.
        q_network: Network with a head that values actions, `DiscreteQNetwork` or `HLGaussQNetwork`, or a `Horde`
            of them.
        optimizer: Moves its parameters.
        epsilon_schedule: Probability of a random action after so many transitions, `[]` or `[num_envs]`; None for
            the configuration's.

    Raises:
        TypeError: The network is none, or its head does not value discrete actions by numbers.
        ValueError: The head does not serve the action space, or minibatches do not come out even.

    Example:
        >>> agent = PQN(PQNConfig(), env, env_params, q_network, optax.radam(1e-3))
        >>> state = agent.init(jax.random.key(0))
        >>> state, logs = lox.spool(agent.train)(jax.random.key(1), state, num_steps=100_000)

    Source:
        Gallici et al. 2025, "Simplifying Deep Temporal Difference Learning", https://arxiv.org/abs/2407.04811;
        Peng and Williams 1996, "Incremental Multi-Step Q-Learning".
    """

    def __init__(
        self,
        config: Any,
        env: Any,
        env_params: PyTree,
        q_network: Network,
        optimizer: optax.GradientTransformation,
        epsilon_schedule: Schedule | None = None,
    ) -> None:
        super().__init__(config, Stage(env, env_params, config.num_envs))
        self.q, self.optimizer = QFunction(self.stage, q_network, distributional=False), optimizer
        default = optax.linear_schedule(config.epsilon_start, config.epsilon_end, config.epsilon_steps)
        self.epsilon_schedule: Schedule = default if epsilon_schedule is None else epsilon_schedule
        self.sequences = self.q.recurrent or config.refresh_targets
        """Whether minibatches are made of whole sequences; else of single steps."""
        self.burn_in = config.burn_in_length if self.q.recurrent else 0
        minibatches = ("num_minibatches", config.num_minibatches)
        if self.sequences:
            divides(minibatches, ("num_envs", config.num_envs), "recurrent networks and refreshed targets")
        else:
            divides(minibatches, ("num_envs * num_steps", self.steps_per_update), "networks without memory")

    def initialize_carry(self, key: Key, batch: int) -> Carry:
        """Make the network's memory."""
        return self.q.initialize_carry(key, batch)

    def init_learner(self, key: Key, loop: Loop) -> Model:
        """Make the network."""
        return Model.create(self.optimizer, self.q.init(key, loop))

    def policy(self, learner: Model, step: Array, behavior: Behavior) -> Policy:
        """Take the best action, or any with the probability of the schedule."""
        return self.q.policy(learner.params, self.epsilon_schedule(step), behavior)

    def value(self, learner: Model) -> Value:
        """Value an observation by its best action, with the memory of its episode."""
        return self.q.value(learner.params)

    def learn(self, key: Key, learner: Model, trajectory: Transition, loop: Loop, carry: Carry) -> Model:
        """Go through the rollout `update_epochs` times."""
        batch = self.batch(learner, trajectory, loop)
        if not self.sequences:
            batch = as_single_steps(batch)

        def gradient_step(learner: Model, indices: Array) -> tuple[Model, Metrics]:
            gradients, metrics = jax.grad(self.loss, has_aux=True)(learner.params, *take((batch, carry), indices))
            return learner.update(self.optimizer, gradients), metrics

        def epoch(learner: Model, i: Array) -> tuple[Model, Metrics]:
            epoch_key = jax.random.fold_in(key, i)
            indices = minibatch_indices(epoch_key, batch.action.shape[0], self.config.num_minibatches)
            return jax.lax.scan(gradient_step, learner, indices)

        learner, metrics = jax.lax.scan(epoch, learner, jnp.arange(self.config.update_epochs, dtype=jnp.uint32))
        lox.log({"losses": jax.tree.map(jnp.mean, metrics)})
        return learner

    def batch(self, learner: Model, trajectory: Transition, loop: Loop) -> Batch:
        """Compute what the values should have been, and put together what is learned from."""
        last_value = self.value(learner)(loop.carry, loop.timestep)
        values = append(best(trajectory.aux["q"]), last_value)
        demons = questions(self.q.network.head, trajectory, values, self.config.td_lambda)
        reward, discount, cut = episode_ends(seen_by_main(trajectory), self.config.gamma)
        target = lambda_returns(reward, discount, cut, main(values), self.config.td_lambda)
        inputs = append(trajectory.inputs, loop.timestep) if self.config.refresh_targets else trajectory.inputs
        return Batch(inputs, trajectory.action, reward, discount, cut, target, demons)

    def loss(self, params: PyTree, batch: Batch, carry: Carry) -> tuple[Array, Metrics]:
        """Compute how far the values of what was done are from their targets, and what is worth knowing about it."""
        _, output, sown = self.q.unroll_with_losses(params, batch.inputs, carry, self.burn_in)
        action, reward, discount, cut, target, demons = jax.tree.map(lambda x: x[:, self.burn_in :], batch[1:])
        if self.config.refresh_targets:
            values = jax.lax.stop_gradient(best(output))
            target = lambda_returns(reward, discount, cut, main(values), self.config.td_lambda)
            demons = ask_anew(demons, values, self.config.td_lambda)
        chosen = choose(upto(output, action.shape[1]), action)
        weight = 1.0 - cut
        loss = weighted_mean(losses(main(chosen), target), weight)
        metrics = {
            "q": loss,
            "q_value": weighted_mean(expected(chosen), weight),
            "td_error": weighted_mean(jnp.abs(target - expected(chosen)), weight),
        }
        more = demon_losses(chosen, demons, weight)
        return sum([*sown, *more.values()], loss), metrics | more
