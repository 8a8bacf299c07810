"""Segment-level recurrence of Transformer-XL."""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from memorax.core.checks import check_fields, optional, size
from memorax.core.types import Array, Key
from memorax.kernels.attention import episode_steps, remember
from memorax.networks.sequence_models.parts.base import check_sequence


class Memory(NamedTuple):
    """The cached inputs of an attention layer.

    Attributes:
        inputs: The input of the episode's step `p` in slot `p % (memory_length + 1)`, zeros where there was none,
            `[batch, memory_length + 1, features]`.
        steps: Steps of the running episode so far, int32 `[batch]`.
    """

    inputs: Array
    steps: Array


class SegmentRecurrence(nn.Module):
    """Segment-level recurrence: an attention layer attends to its inputs of the last `memory_length` steps too.

    Step `t` attends to the steps `t - memory_length` to `t` of its episode, whatever the `context_length` of the layer,
    and however a sequence is split into calls. Where the layer alone caches keys and values, here inputs are cached,
    and keys and values are recomputed from them in every call with the current parameters, so that gradients train
    their projections. A single step costs `memory_length` more projections.

    As in the paper, no gradient reaches an earlier call: to algorithms the carry is data. Whoever differentiates
    through several calls gets the gradient of the whole sequence, as from every memory, or truncates it by
    `jax.lax.stop_gradient`.

    Differs from GTrXL: in `PreNorm(SegmentRecurrence(...))` the normalized inputs are cached.

    Attributes:
        module: An attention layer, such as `SelfAttention(positional_embedding="relative")`.
        memory_length: Number of earlier steps that are attended to.
        features: Width of the inputs; None: that of the layer's outputs, as in a residual stack.

    Example:
        >>> from memorax.networks import SelfAttention
        >>> layer = SegmentRecurrence(SelfAttention(features=6, num_heads=2, head_dim=4), memory_length=3)
        >>> inputs, done = jnp.zeros((2, 5, 6)), jnp.zeros((2, 5), bool)
        >>> (carry, outputs), _ = layer.init_with_output(jax.random.key(0), inputs, done)
        >>> carry.inputs.shape, outputs.shape
        ((2, 4, 6), (2, 5, 6))

    Source:
        Dai et al. 2019, "Transformer-XL: Attentive Language Models Beyond a Fixed-Length Context",
        https://arxiv.org/abs/1901.02860
        Parisotto et al. 2020, "Stabilizing Transformers for Reinforcement Learning", https://arxiv.org/abs/1910.06764
    """

    module: Any
    memory_length: int
    features: int | None = None

    def __post_init__(self) -> None:
        """Check the layer and the sizes.

        Raises:
            TypeError: If `module` is no attention layer, or a size is not an integer.
            ValueError: If a size is below 1.
        """
        if not isinstance(self.module, nn.Module) or not callable(getattr(self.module, "rebuild_cache", None)):
            raise TypeError(f"`module` must be an attention layer such as SelfAttention(), got {self.module!r}")
        check_fields(self, memory_length=size(), features=optional(size()))
        super().__post_init__()

    @nn.nowrap
    def initialize_carry(self, key: Key, input_shape: tuple[int, ...]) -> Memory:
        """Give the memory before an episode's first step.

        Args:
            key: Not used.
            input_shape: `(batch, features)`; `features` is not used.

        Returns:
            An empty memory.
        """
        del key
        shape = (input_shape[0], self.memory_length + 1, self._width)
        return Memory(jnp.zeros(shape, jnp.float32), jnp.zeros(shape[0], jnp.int32))

    def __call__(self, inputs: Array, done: Array, initial_carry: Memory | None = None) -> tuple[Memory, Array]:
        """Attend.

        Args:
            inputs: `[batch, time, features]`.
            done: True where the memory is reset before the step, `[batch, time]`.
            initial_carry: The memory before the first step; None: that of an episode's start.

        Returns:
            The memory after the last step, and the layer's outputs `[batch, time, features]`.

        Raises:
            ValueError: If the shapes do not fit.
        """
        check_sequence(inputs, done)
        if inputs.shape[-1] != self._width:
            raise ValueError(f"`features` must be the width of the inputs, {inputs.shape[-1]}, got {self._width}")
        memory = self.initialize_carry(jax.random.key(0), inputs.shape) if initial_carry is None else initial_carry
        past, count = memory
        _, outputs = self.module(inputs, done, self.module.rebuild_cache(past.astype(inputs.dtype), count))
        kept = remember(past[:, None], inputs[:, None], done, count)[:, 0]
        return Memory(kept, episode_steps(done, count)[:, -1] + 1), outputs

    @property
    def _width(self) -> int:
        return self.module.config.features if self.features is None else self.features
