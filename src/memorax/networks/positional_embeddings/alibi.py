"""ALiBi: attention with linear biases."""

import numpy as np

from memorax.core.types import Array
from memorax.kernels.attention import Positions
from memorax.networks.positional_embeddings.base import PositionalEmbedding


class ALiBi(PositionalEmbedding):
    """Attention with linear biases: scores fall linearly with distance, with a slope for each head.

    Source:
        Press et al. 2021, "Train Short, Test Long: Attention with Linear Biases Enables Input Length Extrapolation",
        https://arxiv.org/abs/2108.12409
    """

    def __call__(self, queries: Array, window: int) -> tuple[Array, Positions]:
        """Give the slopes for the heads of `queries` `[batch, time, heads, dim]`, which stay as they are."""
        del window
        return queries, Positions(slopes=slopes(queries.shape[2]))


def slopes(num_heads: int) -> np.ndarray:
    """Give the slope of every head.

    Args:
        num_heads: Any number. For a power of two: `2^(-8 h / num_heads)` for `h` from 1. Otherwise: those of the next
            smaller power, then every second one of the next larger power.

    Returns:
        `[num_heads]`.
    """
    power = 1 << (num_heads.bit_length() - 1)
    first = 2.0 ** (-8.0 * np.arange(1, power + 1) / power)
    between = 2.0 ** (-4.0 * np.arange(1, 2 * power, 2) / power)
    return np.concatenate([first, between])[:num_heads]
