"""The driver of off-policy algorithms: collect transitions, then learn from samples of a replay buffer."""

import abc
import dataclasses
import math
from typing import Any, Protocol, TypeVar, cast

import jax
import jax.numpy as jnp

from memorax.acting.agent import Algorithm, AlgorithmConfig, Behavior, NetworksT
from memorax.acting.checks import check_state
from memorax.acting.compiled import compiled
from memorax.acting.normalization import Scales
from memorax.acting.state import State
from memorax.acting.vector_env import RolloutState
from memorax.buffers.protocol import Buffer, PrioritizedBuffer
from memorax.core.checks import check, integer
from memorax.core.step_count import StepCount
from memorax.core.types import Array, Key, PyTree, Transition, vary_alike


class OffPolicyConfig(AlgorithmConfig, Protocol):
    """What the configuration of an off-policy algorithm has."""

    @property
    def train_frequency(self) -> int:
        """Transitions of all environments per update."""
        ...


OffPolicyConfigT = TypeVar("OffPolicyConfigT", bound=OffPolicyConfig)


def update_schedule(num_envs: int, train_frequency: int) -> tuple[int, int]:
    """Compute how to update once per `train_frequency` transitions, exactly.

    Args:
        num_envs: Transitions per step of all environments.
        train_frequency: Transitions per update.

    Returns:
        Steps of all environments, and the number of updates after them.
    """
    common = math.gcd(num_envs, train_frequency)
    return train_frequency // common, num_envs // common


def crosses(step: StepCount, stride: int, period: int) -> Array:
    """Whether the next `stride` transitions pass a multiple of `period`, as when a target network is updated.

    Args:
        step: Transitions so far.
        stride: Transitions until the next update, `train_frequency`.
        period: Transitions between two target updates.
    """
    return step % period >= max(period - stride, 0)


def check_buffer(buffer: Any, num_envs: int) -> None:
    """Require a replay buffer for so many environments.

    Raises:
        TypeError: It lacks a function of a buffer.
        ValueError: It was made for another number of environments.
    """
    lacking = [name for name in ("init", "add", "sample", "can_sample") if not callable(getattr(buffer, name, None))]
    if lacking:
        raise TypeError(
            f"`buffer` must have the functions of a buffer, got {type(buffer).__name__} without {', '.join(lacking)}; "
            "make one with `memorax.buffers.make_episode_buffer`"
        )
    layout = getattr(buffer, "layout", None)
    if layout is not None and layout.rows != num_envs:
        raise ValueError(
            f"`buffer` must have a row for each of `num_envs` ({num_envs}), got {layout.rows}; "
            f"make it with `add_batch_size={num_envs}`"
        )


def _rounded(x: Array) -> Array:
    return x.astype(jnp.bfloat16) if jnp.issubdtype(x.dtype, jnp.floating) else x


class OffPolicy(Algorithm[OffPolicyConfigT, NetworksT]):
    """Collects transitions in a replay buffer, and learns from samples of it once there is enough to draw from.

    An algorithm gives it a buffer with `use_buffer` when it is built.

    Attributes:
        compact_carry: Whether stored memories are rounded to bfloat16.

    Args:
        config: The algorithm's configuration.
        env: Environment.
        env_params: Its parameters; None for its default ones.

    Raises:
        TypeError: The configuration is not a `Config` of the algorithm.
    """

    compact_carry: bool = False
    _item: PyTree = None
    """Shapes of what is stored of a step of all environments, once they are known."""

    def __init__(self, config: OffPolicyConfigT, env: Any, env_params: PyTree) -> None:
        super().__init__(config, env, env_params)
        self.collect_steps, self.num_updates = update_schedule(config.num_envs, config.train_frequency)
        self.steps_per_update = self.collect_steps * config.num_envs

    def use_buffer(self, buffer: Buffer, *, store_carry: bool = False) -> None:
        """Set the replay buffer.

        Args:
            buffer: The replay buffer.
            store_carry: Whether transitions are stored with the memory before them.

        Raises:
            TypeError: It is not a buffer.
            ValueError: It was made for another number of environments.
        """
        check_buffer(buffer, self.config.num_envs)
        self.buffer, self.store_carry, self._item = buffer, store_carry, None

    @abc.abstractmethod
    def learn(self, key: Key, learner: PyTree, sample: Any, step: StepCount) -> tuple[PyTree, Array | None]:
        """Learn from a sample of the replay buffer.

        Args:
            key: Random key.
            learner: What is learned, before the update.
            sample: The sample.
            step: Transitions before this update, `train_frequency` more with every update.

        Returns:
            What is learned, after the update, and new priorities of the sample, or None.
        """

    def record(self, transition: Transition) -> PyTree:
        """Choose what is stored of transitions: all but episode statistics and what the policy recorded."""
        carry = jax.tree.map(_rounded, transition.carry) if self.compact_carry else transition.carry
        return dataclasses.replace(transition, carry=carry, info={}, aux={})

    def example_item(self, rollout_state: RolloutState) -> PyTree:
        """Make what is stored of one step of one environment, all zeros."""

        def transition(key: Key, rollout_state: RolloutState) -> PyTree:
            learner = self.init_learner(key, rollout_state)
            policy = self.policy(learner, StepCount.of(0), "random")
            _, step = self.vector_env.step(key, rollout_state, policy, store_carry=self.store_carry)
            return self.record(step)

        if self._item is None:
            self._item = jax.eval_shape(transition, jax.random.key(0), rollout_state)
        return jax.tree.map(lambda x: jnp.zeros(x.shape[1:], x.dtype), self._item)

    def init_buffer(self, rollout_state: RolloutState) -> PyTree:
        """Make an empty replay buffer for transitions of these environments."""
        return self.buffer.init(self.example_item(rollout_state))

    def collect(self, key: Key, state: State, num_steps: int, behavior: Behavior) -> State:
        """Act `num_steps` times in every environment and store the transitions."""
        return self.store(state, *self.interact(key, state, num_steps, behavior))

    def store(self, state: State, rollout_state: RolloutState, trajectory: Transition) -> State:
        """Store the transitions of a rollout that began in `state`."""
        step = state.step + trajectory.reward.shape[1] * self.vector_env.num_envs
        buffer = self.buffer.add(state.buffer, self.record(trajectory))
        scales = self.normalizer.after_rewards(state.scales, trajectory)
        scales = self.normalizer.after_observations(scales, trajectory, rollout_state)
        return dataclasses.replace(state, step=step, loop=rollout_state, buffer=buffer, scales=scales)

    def interrupted(self, state: State) -> State:
        """Store the last observations as steps at which episodes are cut: what follows belongs to other episodes."""
        last, no = state.loop.timestep, jnp.zeros_like(state.loop.timestep.done)
        action, reward = jax.tree.map(jnp.zeros_like, (last.action, last.reward))
        step = Transition(last, action, reward, no, ~no, carry=state.loop.carry if self.store_carry else None)
        item = jax.tree.map(lambda x: x[:, None], self.record(step))
        return dataclasses.replace(state, buffer=self.buffer.add(state.buffer, item))

    def learn_from(self, key: Key, state: State, rollout_state: RolloutState, trajectory: Transition) -> State:
        """Store a rollout that began in `state`, then sample, learn and set priorities, `num_updates` times."""
        frequency = self.config.train_frequency
        first = state.step.rounded_down(frequency)
        state = self.store(state, rollout_state, trajectory)

        def body(carry: tuple[PyTree, PyTree], i: Array) -> tuple[tuple[PyTree, PyTree], None]:
            own_key = jax.random.fold_in(key, i)
            return self.sample_and_learn(own_key, *carry, first + i * frequency, state.scales), None

        numbers = jnp.arange(self.num_updates, dtype=jnp.uint32)
        (learner, buffer), _ = jax.lax.scan(body, (state.learner, state.buffer), numbers)
        return dataclasses.replace(state, learner=learner, buffer=buffer)

    def sample_and_learn(
        self, key: Key, learner: PyTree, buffer: PyTree, step: StepCount, scales: Scales | None = None
    ) -> tuple[PyTree, PyTree]:
        """Update once, or not at all where the replay buffer does not hold enough.

        Args:
            key: Random key.
            learner: What is learned, before the update.
            buffer: State of the replay buffer.
            step: Transitions before this update.
            scales: Statistics that the sampled observations and rewards are normalized by.

        Returns:
            What is learned, after the update, and the replay buffer with its new priorities.
        """
        sample_key, update_key = jax.random.split(key)

        @jax.jit  # so that it is traced once, for what `skip` needs to know of it and for itself
        def update(learner: PyTree, *given: Any) -> tuple[PyTree, Array | None, Array | None]:
            buffer, sample_key, update_key, step, scales = given
            sample = self.normalizer.sample(scales, self.buffer.sample(buffer, sample_key))
            learner, priorities = self.learn(update_key, learner, sample, step)
            return vary_alike((learner, priorities, getattr(sample, "indices", None)), sample_key)

        given = buffer, sample_key, update_key, step, scales

        def skip(learner: PyTree) -> tuple[PyTree, Array | None, Array | None]:
            priorities, indices = jax.eval_shape(update, learner, *given)[1:]
            nothing = jax.tree.map(lambda x: jnp.full(x.shape, jnp.nan, x.dtype), priorities)
            zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), indices)
            return vary_alike((learner, nothing, zeros), sample_key)

        # The buffer is only read inside, so that the compiler has no reason to copy it; NaN changes no priority.
        ready = self.buffer.can_sample(buffer)
        learner, priorities, indices = jax.lax.cond(ready, lambda learner: update(learner, *given), skip, learner)
        if priorities is not None and indices is not None:
            replay = cast(PrioritizedBuffer, self.buffer)
            buffer = replay.set_priorities(buffer, indices, jnp.where(ready, priorities, jnp.nan))
        return learner, buffer

    @compiled
    def warmup(self, key: Key, state: State, num_steps: int) -> State:
        """Fill the replay buffer with random actions; the memory is updated as in training.

        Args:
            key: Random key.
            state: State of the run.
            num_steps: Transitions of all environments, rounded down to whole steps of all.

        Raises:
            TypeError: `num_steps` is not an integer.
            ValueError: `num_steps` is negative, or the state has another number of environments.
        """
        check_state(state, self.config.num_envs)
        check("num_steps", num_steps, integer(0))
        if num_steps < self.vector_env.num_envs:
            return state
        steps = num_steps // self.vector_env.num_envs
        return self.bound(state).collect(state.step.fold_into(key), state, steps, "random")
