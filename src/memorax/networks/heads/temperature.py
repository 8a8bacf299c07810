"""The temperature of SAC, the coefficient of the entropy bonus."""

import math

import flax.linen as nn
import jax.numpy as jnp
from flax.linen import initializers

from memorax.core.checks import check_fields, real
from memorax.core.types import Array


class Alpha(nn.Module):
    """The entropy temperature of SAC, a positive scalar that is learned. It has no inputs.

    Attributes:
        initial_alpha: The initial temperature, in units of reward per nat.

    Source:
        Haarnoja et al. 2018, "Soft Actor-Critic Algorithms and Applications", https://arxiv.org/abs/1812.05905
    """

    initial_alpha: float = 1.0

    def __post_init__(self) -> None:
        """Check that `initial_alpha` is positive."""
        check_fields(self, initial_alpha=real(above=0))
        super().__post_init__()

    @nn.compact
    def __call__(self) -> Array:
        """Give the temperature, `[]`; what is learned is its logarithm."""
        return jnp.exp(self.param("log_alpha", initializers.constant(math.log(self.initial_alpha)), ()))
