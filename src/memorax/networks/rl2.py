"""RL²: memory that is kept across the episodes of a trial."""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from memorax.core.checks import check_fields, optional, size
from memorax.core.types import Array, Carry, Key
from memorax.networks.sequence_models.parts.base import check_sequence, is_sequence_model


class RL2Carry(NamedTuple):
    """The carry of `RL2Wrapper`.

    Attributes:
        memory: The wrapped model's carry.
        progress: Episodes started in this trial, or steps taken in it, int32 `[batch]`.
    """

    memory: Carry
    progress: Array


class RL2Wrapper(nn.Module):
    """RL²: a sequence model whose memory is reset where a trial starts, not where an episode starts.

    A trial is a number of episodes, or of steps, of one task. With neither, the memory is never reset. The model must
    see where episodes start and what was rewarded: use a `FeatureExtractor` with extractors of action, reward and
    `done`, and with `mask_at_start=False`.

    Attributes:
        model: A sequence model.
        episodes_per_trial: Episodes of a trial; None: a trial is not counted in episodes.
        steps_per_trial: Environment steps of a trial, across episodes; None: a trial is not counted in steps.

    Raises:
        TypeError: If `model` is not a sequence model.
        ValueError: If a number is below 1, or both are given.

    Source:
        Duan et al. 2016, "RL²: Fast Reinforcement Learning via Slow Reinforcement Learning",
        https://arxiv.org/abs/1611.02779
        Wang et al. 2016, "Learning to reinforcement learn", https://arxiv.org/abs/1611.05763
    """

    model: Any
    episodes_per_trial: int | None = None
    steps_per_trial: int | None = None

    def __post_init__(self) -> None:
        """Check model and trial."""
        if not is_sequence_model(self.model):
            raise TypeError(f"`model` must be a sequence model such as RNN(cell=...), got {self.model!r}")
        check_fields(self, episodes_per_trial=optional(size()), steps_per_trial=optional(size()))
        if self.episodes_per_trial is not None and self.steps_per_trial is not None:
            raise ValueError(
                f"`episodes_per_trial` ({self.episodes_per_trial}) and `steps_per_trial` ({self.steps_per_trial}) must "
                "not both be given; leave one of them None"
            )
        super().__post_init__()

    @nn.nowrap
    def initialize_carry(self, key: Key, input_shape: tuple[int, ...]) -> RL2Carry:
        """Give the carry before a trial's first step for `input_shape` `(batch, features)`."""
        return RL2Carry(self.model.initialize_carry(key, input_shape), jnp.zeros(input_shape[:1], jnp.int32))

    def __call__(self, inputs: Array, done: Array, initial_carry: RL2Carry | None = None) -> tuple[RL2Carry, Array]:
        """Run the model, with resets where trials start.

        Args:
            inputs: `[batch, time, features]`.
            done: True where an episode starts, `[batch, time]`.
            initial_carry: The carry before the first step; None: that of a trial's start.

        Returns:
            The carry after the last step, and the outputs `[batch, time, features]`.
        """
        check_sequence(inputs, done)
        if initial_carry is None:
            initial_carry = self.initialize_carry(jax.random.key(0), (inputs.shape[0], inputs.shape[-1]))
        progress, begins = self._trials(initial_carry.progress, done)
        memory, outputs = self.model(inputs, begins, initial_carry.memory)
        return RL2Carry(memory, progress), outputs

    def _trials(self, count: Array, done: Array) -> tuple[Array, Array]:
        """Find where trials start, `[batch, time]`; return the count after the last step with it."""
        length = self.episodes_per_trial or self.steps_per_trial
        if length is None:
            return count, jnp.zeros_like(done)
        ticks = done if self.episodes_per_trial else jnp.ones_like(done)

        def step(count: Array, tick: Array) -> tuple[Array, Array]:
            begins = tick & (count == length)
            return jnp.where(begins, 1, count + tick), begins

        count, begins = jax.lax.scan(step, count, ticks.swapaxes(0, 1))
        return count, begins.swapaxes(0, 1)
