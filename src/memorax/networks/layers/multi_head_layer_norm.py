"""Layer norm for each head."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen import initializers

from memorax.core.checks import boolean, check_fields, real, size
from memorax.core.types import Array
from memorax.networks.sequence_models.parts.cell import wide


class MultiHeadLayerNorm(nn.Module):
    """Layer norm over the features of each head, in float32 at least.

    Attributes:
        num_heads: Number of heads.
        epsilon: Added to the variance.
        use_scale: Whether to multiply by a learned scale of each feature, 1 at first.
        use_bias: Whether to add a learned bias to each feature.

    Example:
        >>> MultiHeadLayerNorm(num_heads=2, use_scale=False).apply({}, jnp.array([[0.0, 2.0, 5.0, 5.0]])).round(2)
        Array([[-1.,  1.,  0.,  0.]], dtype=float32)
    """

    num_heads: int
    epsilon: float = 1e-5
    use_scale: bool = True
    use_bias: bool = False

    def __post_init__(self) -> None:
        """Check the fields.

        Raises:
            TypeError: If a field is of another type.
            ValueError: If `num_heads` is below 1, or `epsilon` not above 0.
        """
        check_fields(self, num_heads=size(), epsilon=real(above=0), use_scale=boolean(), use_bias=boolean())
        super().__post_init__()

    @nn.compact
    def __call__(self, inputs: Array) -> Array:
        """Normalize.

        Args:
            inputs: `[..., features]`, the features of each head side by side.

        Returns:
            `[..., features]`.

        Raises:
            ValueError: If the width of the inputs is no multiple of `num_heads`.
        """
        width = inputs.shape[-1]
        if width % self.num_heads:
            raise ValueError(f"`inputs` must be as wide as a multiple of `num_heads` ({self.num_heads}), got {width}")
        heads = wide(inputs).reshape(*inputs.shape[:-1], self.num_heads, -1)
        centered = heads - jnp.mean(heads, axis=-1, keepdims=True)
        variance = jnp.mean(jnp.square(centered), axis=-1, keepdims=True)
        outputs = (centered * jax.lax.rsqrt(variance + self.epsilon)).reshape(inputs.shape)
        if self.use_scale:
            outputs *= self.param("scale", initializers.ones_init(), (width,))
        if self.use_bias:
            outputs += self.param("bias", initializers.zeros_init(), (width,))
        return outputs.astype(inputs.dtype)
