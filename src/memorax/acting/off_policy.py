"""The driver of algorithms that learn from a replay."""

import abc
import dataclasses
import math
from typing import Any, Protocol, cast

import jax
import jax.numpy as jnp

from memorax.acting.algorithm import Algorithm, Behavior, State, compiled
from memorax.acting.loop import Loop, Stage
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


class PrioritizedBuffer(Buffer, Protocol):
    """A replay that draws some sequences more often than others."""

    def set_priorities(self, state: PyTree, indices: Array, priorities: Array) -> PyTree:
        """Say how often sequences are to be drawn from now on, by the `.indices` of the sample they came in."""
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


class OffPolicy(Algorithm):
    """Acts, keeps what happened, and learns from what it draws from there.

    The configuration has `num_envs` and `train_frequency`, the transitions per update.

    Args:
        config: Configuration of the algorithm.
        stage: The environments.
        buffer: The replay.
        store_carry: Whether transitions keep the memory before them.
    """

    def __init__(self, config: Any, stage: Stage, buffer: Buffer, *, store_carry: bool = False) -> None:
        super().__init__(config, stage)
        self.buffer = buffer
        self.store_carry = store_carry
        self.collect_steps, self.num_updates = schedule_of_updates(config.num_envs, config.train_frequency)
        self.steps_per_update = self.collect_steps * config.num_envs

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

    def init_buffer(self, loop: Loop) -> PyTree:
        """Make an empty replay for transitions of these environments."""

        def transition(key: Key, loop: Loop) -> Transition:
            learner = self.init_learner(key, loop)
            policy = self.policy(learner, jnp.zeros((), jnp.uint32), "random")
            return self.stage.step(key, loop, policy, store_carry=self.store_carry)[1]

        shapes = jax.eval_shape(transition, jax.random.key(0), loop)
        return self.buffer.init(jax.tree.map(lambda x: jnp.zeros(x.shape[1:], x.dtype), shapes))

    def collect(self, key: Key, state: State, num_steps: int, behavior: Behavior) -> State:
        """Act `num_steps` times in every environment and keep it."""
        policy = self.policy(state.learner, state.step, behavior)
        loop, trajectory = self.stage.rollout(key, state.loop, policy, num_steps, store_carry=self.store_carry)
        steps = jnp.uint32(num_steps * self.stage.num_envs)
        buffer = self.buffer.add(state.buffer, trajectory)
        return dataclasses.replace(state, step=state.step + steps, loop=loop, buffer=buffer)

    def update(self, key: Key, state: State) -> State:
        """Collect, then draw and learn, and give what was drawn its new priorities."""
        collect_key, learn_key = jax.random.split(key)
        frequency = jnp.uint32(self.config.train_frequency)
        begin = state.step // frequency * frequency
        state = self.collect(collect_key, state, self.collect_steps, "explore")

        def body(carry: tuple[PyTree, PyTree], i: Array) -> tuple[tuple[PyTree, PyTree], None]:
            learner, buffer = carry
            sample_key, update_key = jax.random.split(jax.random.fold_in(learn_key, i))
            sample = self.buffer.sample(buffer, sample_key)
            learner, priorities = self.learn(update_key, learner, sample, begin + i * frequency)
            if priorities is not None:
                replay = cast(PrioritizedBuffer, self.buffer)
                buffer = replay.set_priorities(buffer, sample.indices, priorities)
            return (learner, buffer), None

        numbers = jnp.arange(self.num_updates, dtype=jnp.uint32)
        (learner, buffer), _ = jax.lax.scan(body, (state.learner, state.buffer), numbers)
        return dataclasses.replace(state, learner=learner, buffer=buffer)

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
