"""The driver of algorithms that learn from a replay."""

import abc
import dataclasses
import math
from typing import Any, Protocol, cast

import jax
import jax.numpy as jnp

from memorax.acting.algorithm import Algorithm, Behavior, State, compiled
from memorax.acting.loop import Loop, Stage
from memorax.acting.normalization import Scales
from memorax.acting.replay import check_sequences
from memorax.core.types import Array, Key, PyTree, Transition


class Buffer(Protocol):
    """A replay in the style of flashbax: pure functions of its state."""

    def init(self, item: PyTree) -> PyTree:
        """Make an empty replay for items like this one, given without batch and time axes."""
        ...

    def add(self, state: PyTree, batch: PyTree) -> PyTree:
        """Append `[batch, time, ...]`."""
        ...

    def sample(self, state: PyTree, key: Key) -> Any:
        """Draw sequences; the result has `.experience` of `[batch, time, ...]`."""
        ...

    def can_sample(self, state: PyTree) -> Array:
        """Tell whether there is enough to draw from, bool `[]`; what is drawn before that is not learned from."""
        ...


class PrioritizedBuffer(Buffer, Protocol):
    """A replay that draws some sequences more often than others."""

    def set_priorities(self, state: PyTree, indices: Array, priorities: Array) -> PyTree:
        """Say how often sequences are to be drawn from now on, by the `.indices` of the sample they came in.

        A priority that is NaN leaves things as they are.
        """
        ...


def schedule_of_updates(num_envs: int, train_frequency: int) -> tuple[int, int]:
    """Say how to update once per `train_frequency` transitions, exactly.

    Args:
        num_envs: Transitions per step of all environments.
        train_frequency: Transitions per update.

    Returns:
        Steps of all environments, and updates after them.
    """
    common = math.gcd(num_envs, train_frequency)
    return train_frequency // common, num_envs // common


def crosses(step: Array, stride: int, period: int) -> Array:
    """Tell whether a clock passes a multiple of `period` with its next move; so a target network knows its hour.

    Args:
        step: Where the clock stands, in transitions.
        stride: How far it moves, in transitions: `train_frequency`.
        period: What is to be passed, in transitions.
    """
    return step % period + stride >= period


def check_buffer(buffer: Any, num_envs: int) -> None:
    """Refuse what cannot keep the steps of so many environments.

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


class OffPolicy(Algorithm):
    """Acts, keeps what happened, and learns from what it draws from there once there is enough to draw from.

    The configuration has `num_envs` and `train_frequency`, the transitions per update.

    Args:
        config: Configuration of the algorithm.
        stage: The environments.
        buffer: The replay.
        store_carry: Whether transitions keep the memory before them.

    Raises:
        TypeError: The buffer is none.
        ValueError: It was made for another number of environments.
    """

    def __init__(self, config: Any, stage: Stage, buffer: Buffer, *, store_carry: bool = False) -> None:
        super().__init__(config, stage)
        check_buffer(buffer, config.num_envs)
        self.buffer = buffer
        self.store_carry = store_carry
        self.collect_steps, self.num_updates = schedule_of_updates(config.num_envs, config.train_frequency)
        self.steps_per_update = self.collect_steps * config.num_envs

    def check_replay(self, recurrent: bool) -> None:
        """Refuse a replay that cannot be learned from.

        Args:
            recurrent: Whether what is learned has a memory.

        Raises:
            ValueError: As `check_sequences` does.
        """

        def begin(key: Key) -> Loop:
            return self.stage.reset(key, self.initialize_carry(key, self.config.num_envs))

        example = self.example(jax.eval_shape(begin, jax.random.key(0)))
        check_sequences(self.config, self.buffer, example, recurrent)

    @abc.abstractmethod
    def learn(self, key: Key, learner: PyTree, sample: Any, step: Array) -> tuple[PyTree, Array | None]:
        """Learn from a sample of the replay.

        Args:
            key: Random key.
            learner: What is known so far.
            sample: What the buffer drew.
            step: Transitions before this update, `train_frequency` more with every update.

        Returns:
            What is known then, and new priorities of the sample, or None.
        """

    def record(self, transition: Transition) -> PyTree:
        """Say what the replay keeps of transitions: all but the statistics of episodes."""
        return dataclasses.replace(transition, info={})

    def example(self, loop: Loop) -> PyTree:
        """Make what the replay keeps of one step of one environment, all zeros."""

        def transition(key: Key, loop: Loop) -> PyTree:
            learner = self.init_learner(key, loop)
            policy = self.policy(learner, jnp.zeros((), jnp.uint32), "random")
            return self.record(self.stage.step(key, loop, policy, store_carry=self.store_carry)[1])

        shapes = jax.eval_shape(transition, jax.random.key(0), loop)
        return jax.tree.map(lambda x: jnp.zeros(x.shape[1:], x.dtype), shapes)

    def init_buffer(self, loop: Loop) -> PyTree:
        """Make an empty replay for transitions of these environments."""
        return self.buffer.init(self.example(loop))

    def collect(self, key: Key, state: State, num_steps: int, behavior: Behavior) -> State:
        """Act `num_steps` times in every environment and keep it."""
        policy, _ = self.acting(state, behavior)
        loop, trajectory = self.stage.rollout(key, state.loop, policy, num_steps, store_carry=self.store_carry)
        steps = jnp.uint32(num_steps * self.stage.num_envs)
        buffer = self.buffer.add(state.buffer, self.record(trajectory))
        scales = self.normalizer.after_rewards(state.scales, trajectory)
        scales = self.normalizer.after_observations(scales, trajectory, loop)
        return dataclasses.replace(state, step=state.step + steps, loop=loop, buffer=buffer, scales=scales)

    def update(self, key: Key, state: State) -> State:
        """Collect, then draw and learn, and give what was drawn its new priorities."""
        collect_key, learn_key = jax.random.split(key)
        frequency = jnp.uint32(self.config.train_frequency)
        begin = state.step // frequency * frequency
        state = self.collect(collect_key, state, self.collect_steps, "explore")

        def body(carry: tuple[PyTree, PyTree], i: Array) -> tuple[tuple[PyTree, PyTree], None]:
            key = jax.random.fold_in(learn_key, i)
            return self.draw_and_learn(key, *carry, begin + i * frequency, state.scales), None

        numbers = jnp.arange(self.num_updates, dtype=jnp.uint32)
        (learner, buffer), _ = jax.lax.scan(body, (state.learner, state.buffer), numbers)
        return dataclasses.replace(state, learner=learner, buffer=buffer)

    def draw_and_learn(
        self, key: Key, learner: PyTree, buffer: PyTree, step: Array, scales: Scales | None = None
    ) -> tuple[PyTree, PyTree]:
        """Update once, or not at all where there is not enough in the replay.

        Args:
            key: Random key.
            learner: What is known so far.
            buffer: The replay's state.
            step: Transitions before this update.
            scales: What the drawn observations and rewards are normalized by.

        Returns:
            What is known then, and the replay with its new priorities.
        """
        sample_key, update_key = jax.random.split(key)

        def work(learner: PyTree) -> tuple[PyTree, Array | None, Array | None]:
            sample = self.normalizer.sample(scales, self.buffer.sample(buffer, sample_key))
            learner, priorities = self.learn(update_key, learner, sample, step)
            return learner, priorities, getattr(sample, "indices", None)

        def rest(learner: PyTree) -> tuple[PyTree, Array | None, Array | None]:
            priorities, indices = jax.eval_shape(work, learner)[1:]
            nothing = jax.tree.map(lambda x: jnp.full(x.shape, jnp.nan, x.dtype), priorities)
            return learner, nothing, jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), indices)

        # The replay is only read inside, so that the compiler has no reason to copy it; NaN changes no priority.
        ready = self.buffer.can_sample(buffer)
        learner, priorities, indices = jax.lax.cond(ready, work, rest, learner)
        if priorities is not None and indices is not None:
            replay = cast(PrioritizedBuffer, self.buffer)
            buffer = replay.set_priorities(buffer, indices, jnp.where(ready, priorities, jnp.nan))
        return learner, buffer

    @compiled
    def warmup(self, key: Key, state: State, num_steps: int) -> State:
        """Fill the replay with random actions; the memory sees what it would see in training.

        Args:
            key: Random key.
            state: Where the run stands.
            num_steps: Transitions over all environments, rounded down to whole steps of all.
        """
        if num_steps < self.stage.num_envs:
            return state
        steps = num_steps // self.stage.num_envs
        return self.collect(jax.random.fold_in(key, state.step), state, steps, "random")
