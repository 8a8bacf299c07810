"""Frame stacking."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from memorax.core.checks import check_fields, size
from memorax.core.types import Array, Carry, Key
from memorax.networks.sequence_models.parts.base import check_sequence


class Frames(nn.Module):
    """Concatenate the last inputs of the episode, the newest first, zeros before its start.

    A sequence model without parameters; the carry is the last `count - 1` inputs, in float32.

    Attributes:
        features: Width of the inputs.
        count: Number of inputs, the current one included.

    Example:
        >>> frames = Frames(features=1, count=3)
        >>> inputs, done = jnp.arange(1.0, 6.0).reshape(1, 5, 1), jnp.array([[False, False, False, True, False]])
        >>> frames.apply({}, inputs, done)[1][0].astype(int).tolist()
        [[1, 0, 0], [2, 1, 0], [3, 2, 1], [4, 0, 0], [5, 4, 0]]
    """

    features: int
    count: int

    def __post_init__(self) -> None:
        """Check that the sizes are positive integers."""
        check_fields(self, features=size(), count=size())
        super().__post_init__()

    @nn.nowrap
    def initialize_carry(self, key: Key, input_shape: tuple[int, ...]) -> Carry:
        """Give inputs of zeros `[batch, count - 1, features]` for `input_shape` `(batch, features)`."""
        del key
        return jnp.zeros((input_shape[0], self.count - 1, self.features))

    def __call__(self, inputs: Array, done: Array, initial_carry: Carry = None) -> tuple[Carry, Array]:
        """Concatenate.

        Args:
            inputs: `[batch, time, features]`.
            done: True at the first step of an episode, `[batch, time]`; steps before it have no effect.
            initial_carry: The inputs before the first step; None: zeros.

        Returns:
            The last inputs, and the outputs `[batch, time, count * features]`.

        Raises:
            ValueError: If the shapes do not fit.
        """
        check_sequence(inputs, done)
        if inputs.shape[-1] != self.features:
            raise ValueError(f"`inputs` must be `features` ({self.features}) wide, got {inputs.shape[-1]}")
        length = inputs.shape[1]
        carry = self.initialize_carry(jax.random.key(0), inputs.shape) if initial_carry is None else initial_carry
        past = jnp.concatenate([carry.astype(inputs.dtype), inputs], axis=1)
        time, ages = jnp.arange(length)[None], jnp.arange(self.count)[None]
        since = time - jax.lax.cummax(jnp.where(done, time, -self.count), axis=1)  # steps since the last reset
        # [batch, time, age]: which input each step sees at that age
        frames = past[:, (self.count - 1 + time).T - ages]
        outputs = jnp.where((since[..., None] >= ages[None])[..., None], frames, 0)
        kept = jnp.where((since[:, -1:] >= ages[:, -2::-1])[..., None], past[:, length:], 0)
        return kept.astype(carry.dtype), outputs.reshape(*inputs.shape[:2], -1)
