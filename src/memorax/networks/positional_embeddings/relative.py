"""Relative positions of Transformer-XL."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from memorax.core.checks import check_fields, real
from memorax.core.types import Array
from memorax.kernels.attention import Positions
from memorax.networks.positional_embeddings.base import PositionalEmbedding


class RelativePositionalEmbedding(PositionalEmbedding):
    """Relative positions of Transformer-XL: scores depend on an encoding of the distance too.

    The score of query `i` and key `j` is `((q_i + u) . k_j + (q_i + v) . W R_{i-j}) / sqrt(dim)` with learned `u`, `v`
    `[heads, dim]` and `W`, where `R_d` holds the sines and cosines of `d base^(-2f / width)`, `width = heads dim`.

    Attributes:
        base: Base of the wavelengths, the longest of which is about `2 pi base` steps.

    Source:
        Dai et al. 2019, "Transformer-XL: Attentive Language Models Beyond a Fixed-Length Context",
        https://arxiv.org/abs/1901.02860
    """

    base: float = 10_000.0

    def __post_init__(self) -> None:
        """Check that `base` is above 0."""
        check_fields(self, base=real(above=0))
        super().__post_init__()

    @nn.compact
    def __call__(self, queries: Array, window: int) -> tuple[Array, Positions]:
        """Give queries for keys, and queries and keys for distances.

        Args:
            queries: `[batch, time, heads, dim]`.
            window: Number of distances.

        Returns:
            The queries for keys `[batch, time, heads, dim]`, and what the kernel needs.
        """
        heads, dim = queries.shape[2:]
        for_keys, for_distances = (
            self.param(name, nn.initializers.zeros, (heads, dim), jnp.float32).astype(queries.dtype)[None, None]
            for name in ("key_bias", "distance_bias")
        )
        waves = jnp.asarray(encode_distances(window, heads * dim, self.base), queries.dtype)
        distances = nn.DenseGeneral((heads, dim), use_bias=False, dtype=queries.dtype, name="distance")(waves)
        return queries + for_keys, Positions(relative=(queries + for_distances, distances))


def encode_distances(count: int, width: int, base: float = 10_000.0) -> np.ndarray:
    """Give the sines, then the cosines, of distances from 0 to `count - 1`, `[count, width]`."""
    half = -(-width // 2)
    angles = np.arange(count)[:, None] * base ** (-np.arange(half) / half)
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=-1)[:, :width]
