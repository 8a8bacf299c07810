"""Rotary position embedding."""

import flax.linen as nn
import numpy as np

from memorax.core.checks import check_fields, real
from memorax.kernels.attention import Positions
from memorax.networks.positional_embeddings.base import PositionalEmbedding


class RoPE(PositionalEmbedding):
    """Rotary position embedding: queries and keys are rotated so that their product depends on the distance.

    The pair `(x_f, x_{f + dim/2})` of step `p` is turned by `p base^(-2f / dim)`. The kernel counts `p` from the
    window's start, not the episode's: angles stay small, and exact.

    Attributes:
        base: The slowest pair rotates once in about `2 pi base` steps.

    Source:
        Su et al. 2021, "RoFormer: Enhanced Transformer with Rotary Position Embedding",
        https://arxiv.org/abs/2104.09864; dimensions are paired as in GPT-NeoX and LLaMA
    """

    base: float = 10_000.0

    def __post_init__(self) -> None:
        """Check that `base` is above 0."""
        check_fields(self, base=real(above=0))
        super().__post_init__()

    @nn.nowrap
    def keys(self, dim: int) -> Positions:
        """Say how keys of width `dim` are turned.

        Raises:
            ValueError: If `dim` is odd.
        """
        if dim % 2:
            raise ValueError(f"`head_dim` must be even for rotary positions, got {dim}")
        return Positions(frequencies=self.base ** (-np.arange(dim // 2) * 2.0 / dim))
