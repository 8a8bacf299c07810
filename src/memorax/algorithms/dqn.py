"""Deep Q-learning from a replay, recurrent or feed-forward."""

import dataclasses
from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import optax
from flax import struct

from memorax import lox
from memorax.acting import Behavior, Loop, Model, OffPolicy, Policy, Stage, State, crosses
from memorax.acting.demons import replayed_demon_losses
from memorax.acting.off_policy import Buffer
from memorax.acting.q_function import QFunction
from memorax.acting.replay import ReplayConfig, default_buffer
from memorax.acting.value_outputs import NStep, choose, expected, main, temporal_differences, upto
from memorax.core.checks import between, whole
from memorax.core.types import Array, Carry, Key, PyTree, Transition
from memorax.networks import Network
from memorax.objectives import episode_ends, weighted_mean

DQNState: TypeAlias = State
Metrics: TypeAlias = dict[str, Array]
Schedule: TypeAlias = Callable[[Array], Any]


@dataclasses.dataclass(frozen=True)
class DQNConfig(ReplayConfig):
    """Configuration of DQN."""

    n_step: int = 1
    """Rewards in a return before it bootstraps."""
    double: bool = True
    """Whether the network that is learned chooses the action whose value the target network gives."""
    epsilon_start: float = 1.0
    """Probability of a random action at the beginning, [0, 1]."""
    epsilon_end: float = 0.05
    """Probability of a random action at the end of its fall."""
    epsilon_steps: int = 25_000
    """Transitions over which it falls linearly."""

    def __post_init__(self) -> None:
        super().__post_init__()
        whole(self, "n_step", 1)
        between(self, "epsilon_start", 0, 1)
        between(self, "epsilon_end", 0, 1)
        whole(self, "epsilon_steps", 1)


@struct.dataclass
class DQNLearner:
    """What is learned, and the slower copy of it that targets come from."""

    online: Model
    target: PyTree


class DQN(OffPolicy):
    """Learn the values of actions from what was kept, towards returns that bootstrap from a slower copy.

    Each update draws sequences `x_0 .. x_T`, unrolls both networks over them once, from the memory that acting had at
    `x_0`, and moves `Q(x_t, a_t)` towards the n-step return that bootstraps from the target network's value of the
    best action at a later column of the same unroll.

    Differs from the paper: the online network chooses the action (double), sequences may be longer than one step and
    networks may have a memory, and a step with a hidden successor (truncated) has no loss.

    Args:
        config: Configuration.
        env: Environment.
        env_params: Its parameters.
        q_network: Network with a head that values actions: `DiscreteQNetwork`, `C51QNetwork` or `HLGaussQNetwork`,
            or a `Horde` of them.
        optimizer: Moves its parameters.
        buffer: Replay of sequences; None for one that follows from the configuration.
        epsilon_schedule: Probability of a random action after so many transitions, `[]` or `[num_envs]`; None for
            the configuration's.

    Raises:
        TypeError: The network is none, or its head does not value discrete actions; the replay is none.
        ValueError: The head does not serve the action space, or configuration and replay do not fit each other.

    Example:
        >>> agent = DQN(DQNConfig(), env, env_params, q_network, optax.adam(3e-4))
        >>> state = agent.warmup(jax.random.key(1), agent.init(jax.random.key(0)), num_steps=10_000)
        >>> state, logs = lox.spool(agent.train)(jax.random.key(2), state, num_steps=100_000)

    Source:
        Mnih et al. 2015, "Human-level control through deep reinforcement learning",
        https://doi.org/10.1038/nature14236; van Hasselt, Guez and Silver 2016, https://arxiv.org/abs/1509.06461;
        Hausknecht and Stone 2015, https://arxiv.org/abs/1507.06527.
    """

    def __init__(
        self,
        config: Any,
        env: Any,
        env_params: PyTree,
        q_network: Network,
        optimizer: optax.GradientTransformation,
        buffer: Buffer | None = None,
        epsilon_schedule: Schedule | None = None,
    ) -> None:
        stage = Stage(env, env_params, config.num_envs)
        self.q = QFunction(stage, q_network)
        self.optimizer, self.config = optimizer, config
        self.epsilon_schedule = self.default_epsilon() if epsilon_schedule is None else epsilon_schedule
        replay = self.default_buffer() if buffer is None else buffer
        super().__init__(config, stage, replay, store_carry=config.store_carry and self.q.recurrent)
        self.check_replay(self.q.recurrent)

    def default_epsilon(self) -> Schedule:
        """Make the schedule of random actions that follows from the configuration."""
        config = self.config
        return optax.linear_schedule(config.epsilon_start, config.epsilon_end, config.epsilon_steps)

    def default_buffer(self) -> Buffer:
        """Make the replay that follows from the configuration."""
        return default_buffer(self.config, self.q.recurrent, self.config.n_step)

    def initialize_carry(self, key: Key, batch: int) -> Carry:
        """Make the network's memory."""
        return self.q.initialize_carry(key, batch)

    def init_learner(self, key: Key, loop: Loop) -> DQNLearner:
        """Make the network and its copy."""
        params = self.q.init(key, loop)
        return DQNLearner(Model.create(self.optimizer, params), jax.tree.map(jnp.copy, params))

    def policy(self, learner: DQNLearner, step: Array, behavior: Behavior) -> Policy:
        """Take the best action, or any with the probability of the schedule."""
        return self.q.policy(learner.online.params, self.epsilon_schedule(step), behavior)

    def record(self, transition: Transition) -> Transition:
        """Keep what happened, not what was thought of it."""
        return dataclasses.replace(transition, info={}, aux={})

    def learn(self, key: Key, learner: DQNLearner, sample: Any, step: Array) -> tuple[DQNLearner, Array | None]:
        """Move the network towards the returns, and the target network towards it where its hour has come."""
        config, batch = self.config, sample.experience
        carry = jax.tree.map(lambda x: x[:, 0], batch.carry)
        if carry is None:
            carry = self.initialize_carry(key, batch.reward.shape[0])
        arguments = learner.target, batch, carry, self.importance(sample, step)
        gradients, (metrics, priorities) = jax.grad(self.loss, has_aux=True)(learner.online.params, *arguments)
        online = learner.online.update(self.optimizer, gradients)
        moved = optax.incremental_update(online.params, learner.target, config.tau)
        refresh = crosses(step, config.train_frequency, config.target_update_frequency)
        target = jax.tree.map(lambda new, old: jnp.where(refresh, new, old), moved, learner.target)
        lox.log({"losses": metrics})
        return DQNLearner(online, target), priorities

    def loss(
        self, params: PyTree, target_params: PyTree, batch: Transition, carry: Carry, importance: Array
    ) -> tuple[Array, tuple[Metrics, Array | None]]:
        """Compute the loss of a sample, what is worth knowing about it, and its priorities.

        Args:
            params: Of the network.
            target_params: Of its slower copy.
            batch: `[batch, time + 1]`; the last step only bootstraps.
            carry: The memory before the first step.
            importance: Weight of each sequence, `[batch]`.
        """
        burn_in = self.config.burn_in_length if self.q.recurrent else 0
        _, output, sown = self.q.unroll_with_losses(params, batch.inputs, carry, burn_in)
        _, target_output = self.q.unroll(target_params, batch.inputs, carry, burn_in)
        batch = jax.tree.map(lambda x: x[:, burn_in:-1], dataclasses.replace(batch, carry=None))
        following = choose(target_output, jnp.argmax(expected(output if self.config.double else target_output), -1))
        chosen = choose(upto(output, batch.reward.shape[1]), batch.action)
        targets = self.targets(batch)
        losses, errors = temporal_differences(main(chosen), main(following), targets)
        weight = 1.0 - targets.cut
        loss = weighted_mean(importance[:, None] * losses, weight)
        metrics = {
            "q": loss,
            "q_value": weighted_mean(expected(chosen), weight),
            "td_error": weighted_mean(jnp.abs(errors), weight),
        }
        demons = replayed_demon_losses(self.q.network.head, batch, chosen, following, self.targets, importance)
        loss = sum([*sown, *demons.values()], loss)
        return loss, (metrics | demons, self.priorities(jnp.abs(errors), weight))

    def targets(self, batch: Transition, gamma: float | None = None) -> NStep:
        """Say how returns bootstrap, by the discount of the configuration or another one."""
        return NStep(*episode_ends(batch, self.config.gamma if gamma is None else gamma), self.config.n_step)

    def importance(self, sample: Any, step: Array) -> Array:
        """Weigh the sequences of a sample: all alike."""
        del step
        return jnp.ones(sample.experience.reward.shape[0])

    def priorities(self, errors: Array, weight: Array) -> Array | None:
        """Say how often sequences are to be drawn, by the size of their errors: all alike."""
        del errors, weight
