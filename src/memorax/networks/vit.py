"""A Vision Transformer for images."""

import flax.linen as nn
import jax.numpy as jnp
from flax.linen import initializers

from memorax.core.broadcasting import with_rank
from memorax.core.checks import check_fields, optional, size
from memorax.core.types import Array
from memorax.networks.blocks.feed_forward import FFN
from memorax.networks.layers.patch_embedding import PatchEmbedding


class ViT(nn.Module):
    """A Transformer over the patches of each image, as a feature extractor.

    Each layer is `x + attention(norm(x))`, then `x + ffn(norm(x))`; patches attend to all patches of their own image,
    not to other steps. Positions are learned. The output is the mean over the patches, where the paper has a class
    token.

    Attributes:
        features: Width of the output and of every layer, a multiple of `num_heads`.
        num_layers: Number of layers.
        num_heads: Number of attention heads.
        patch_size: Side of a patch, in pixels; it divides height and width.
        hidden_dim: Width inside the feed-forward networks; None: four times `features`.

    Example:
        >>> import jax
        >>> images = jnp.zeros((2, 5, 8, 12, 3), jnp.uint8)
        >>> vit = ViT(features=6, num_layers=1, num_heads=2, patch_size=4)
        >>> vit.init_with_output(jax.random.key(0), images)[0].shape
        (2, 5, 6)

    Source:
        Dosovitskiy et al. 2021, "An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale",
        https://arxiv.org/abs/2010.11929
    """

    features: int = 64
    num_layers: int = 2
    num_heads: int = 4
    patch_size: int = 8
    hidden_dim: int | None = None

    def __post_init__(self) -> None:
        """Check the sizes.

        Raises:
            TypeError: If a size is no integer.
            ValueError: If a size is below 1, or `features` no multiple of `num_heads`.
        """
        check_fields(self, **dict.fromkeys(("features", "num_layers", "num_heads", "patch_size"), size()))
        check_fields(self, hidden_dim=optional(size()))
        if self.features % self.num_heads:
            raise ValueError(f"`features` must be a multiple of `num_heads` ({self.num_heads}), got {self.features}")
        super().__post_init__()

    @nn.compact
    def __call__(self, inputs: Array) -> Array:
        """Map images to feature vectors.

        Args:
            inputs: `[..., height, width, channels]`, with any leading axes such as batch and time.

        Returns:
            `[..., features]`.

        Raises:
            ValueError: If the inputs are no images, or do not come apart into whole patches.
        """
        x = PatchEmbedding(self.features, self.patch_size, name="patches")(inputs)
        x += with_rank(self.param("positions", initializers.normal(0.02), x.shape[-2:]).astype(x.dtype), x.ndim)
        for layer in range(self.num_layers):
            x += self._attend(f"attention_{layer}", x)
            normed = nn.LayerNorm(dtype=x.dtype, name=f"ffn_norm_{layer}")(x)
            x += FFN(self.hidden_dim or 4 * self.features, name=f"ffn_{layer}")(normed)
        return jnp.mean(nn.LayerNorm(dtype=x.dtype, name="norm")(x), axis=-2)

    def _attend(self, name: str, x: Array) -> Array:
        normed = nn.LayerNorm(dtype=x.dtype, name=f"{name}_norm")(x)
        return nn.MultiHeadDotProductAttention(self.num_heads, dtype=x.dtype, name=name)(normed)
