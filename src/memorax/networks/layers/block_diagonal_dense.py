"""A block-diagonal dense layer."""

from typing import Any

import flax.linen as nn
from flax.linen import initializers

from memorax.core.checks import boolean, check_fields, floating, function, optional, size
from memorax.core.types import Array
from memorax.kernels.block_diagonal import block_diagonal_product


class BlockDiagonalDense(nn.Module):
    """A dense layer with a block-diagonal kernel: each head maps its own part of the features.

    Attributes:
        features: Width of the output, a multiple of `num_heads`.
        num_heads: Number of blocks.
        use_bias: Whether it has a bias.
        dtype: Type of the activations; None: that of the inputs.
        kernel_init: Initializer of the kernel `[heads, inputs per head, outputs per head]`; LeCun's, head by head.
        bias_init: Initializer of the bias.

    Example:
        >>> import jax
        >>> BlockDiagonalDense(6, num_heads=2).init_with_output(jax.random.key(0), jnp.zeros((2, 5, 4)))[0].shape
        (2, 5, 6)
    """

    features: int
    num_heads: int
    use_bias: bool = True
    dtype: Any = None
    kernel_init: initializers.Initializer = initializers.lecun_normal(batch_axis=(0,))
    bias_init: initializers.Initializer = initializers.zeros_init()

    def __post_init__(self) -> None:
        """Check the sizes.

        Raises:
            TypeError: If a field is of another type.
            ValueError: If a size is below 1, or `features` no multiple of `num_heads`.
        """
        check_fields(self, features=size(), num_heads=size(), use_bias=boolean(), dtype=optional(floating()))
        check_fields(self, kernel_init=function(), bias_init=function())
        if self.features % self.num_heads:
            raise ValueError(f"`features` must be a multiple of `num_heads` ({self.num_heads}), got {self.features}")
        super().__post_init__()

    @nn.compact
    def __call__(self, inputs: Array) -> Array:
        """Map every head.

        Args:
            inputs: `[..., features]`.

        Returns:
            `[..., self.features]`.

        Raises:
            ValueError: If the width of the inputs is no multiple of `num_heads`.
        """
        width = inputs.shape[-1]
        if width % self.num_heads:
            raise ValueError(f"`inputs` must be as wide as a multiple of `num_heads` ({self.num_heads}), got {width}")
        shape = (self.num_heads, width // self.num_heads, self.features // self.num_heads)
        dtype = self.dtype or inputs.dtype
        kernel = self.param("kernel", self.kernel_init, shape).astype(dtype)
        outputs = block_diagonal_product(inputs.astype(dtype), kernel)
        if self.use_bias:
            outputs += self.param("bias", self.bias_init, (self.features,)).astype(dtype)
        return outputs
