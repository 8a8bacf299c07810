"""Embedding of image patches."""

import flax.linen as nn
import jax.numpy as jnp

from memorax.core.checks import check_fields, size
from memorax.core.types import Array


class PatchEmbedding(nn.Module):
    """Cut images into square patches and project each.

    Images of unsigned 8-bit integers are scaled to `[0, 1]`.

    Attributes:
        features: Width of a patch's embedding.
        patch_size: Side of a patch, in pixels.

    Example:
        >>> import jax
        >>> images = jnp.zeros((2, 5, 6, 9, 3), jnp.uint8)
        >>> PatchEmbedding(features=4, patch_size=3).init_with_output(jax.random.key(0), images)[0].shape
        (2, 5, 6, 4)

    Source:
        Dosovitskiy et al. 2021, "An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale",
        section 3.1, https://arxiv.org/abs/2010.11929
    """

    features: int
    patch_size: int

    def __post_init__(self) -> None:
        """Check that the sizes are positive integers."""
        check_fields(self, features=size(), patch_size=size())
        super().__post_init__()

    @nn.compact
    def __call__(self, inputs: Array) -> Array:
        """Embed.

        Args:
            inputs: `[..., height, width, channels]`.

        Returns:
            `[..., patches, features]`, row by row.

        Raises:
            ValueError: If the inputs are not images, or `patch_size` does not divide height and width.
        """
        if inputs.ndim < 3:
            raise ValueError(f"`inputs` must be [..., height, width, channels], got shape {inputs.shape}")
        *leading, height, width, channels = inputs.shape
        size = self.patch_size
        if height % size or width % size:
            raise ValueError(
                f"`patch_size` must divide height and width of the images ({height}, {width}), got {size}; pad them"
            )
        x = inputs.astype(jnp.float32) / 255.0 if inputs.dtype == jnp.uint8 else inputs
        x = x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(jnp.float32)
        x = x.reshape(*leading, height // size, size, width // size, size, channels)
        patches = jnp.moveaxis(x, -4, -3).reshape(*leading, -1, size * size * channels)
        return nn.Dense(self.features, dtype=x.dtype, name="projection")(patches)
