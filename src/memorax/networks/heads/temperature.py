"""What SAC pays for entropy."""

import math

import flax.linen as nn
import jax.numpy as jnp
from flax.linen import initializers

from memorax.core.types import Array


class Alpha(nn.Module):
    """A temperature: the price of entropy, always positive. It has no inputs.

    Attributes:
        initial_alpha: The price at the start, in units of the return per nat.

    Source:
        Haarnoja et al. 2018, "Soft Actor-Critic Algorithms and Applications", https://arxiv.org/abs/1812.05905.
    """

    initial_alpha: float = 1.0

    def __post_init__(self) -> None:
        """Check that `initial_alpha` is positive."""
        if not 0.0 < self.initial_alpha < math.inf:
            raise ValueError(f"`initial_alpha` must be above 0 and finite, got {self.initial_alpha}")
        super().__post_init__()

    @nn.compact
    def __call__(self) -> Array:
        """Give the temperature, `[]`; what is learned is its logarithm."""
        return jnp.exp(self.param("log_alpha", initializers.constant(math.log(self.initial_alpha)), ()))
