"""Initializers that papers name and Flax does not have."""

import flax.linen as nn
from flax.linen.initializers import Initializer

from memorax.networks.checks import check_size


def small(features: int) -> Initializer:
    """Draw from a normal distribution of standard deviation `sqrt(2 / (5 features))`, for layers into a block.

    Args:
        features: Width of the residual stream.

    Returns:
        An initializer of kernels of any shape.

    Raises:
        TypeError: If `features` is no integer.
        ValueError: If `features` is below 1.

    Source:
        Nguyen and Salazar 2019, "Transformers without Tears", https://arxiv.org/abs/1910.05895.
    """
    check_size("features", features)
    return nn.initializers.normal((2 / (5 * features)) ** 0.5)


def wang(features: int, num_blocks: int) -> Initializer:
    """Draw from a normal distribution of standard deviation `2 / (num_blocks sqrt(features))`, for layers out of one.

    Args:
        features: Width of the residual stream.
        num_blocks: How many blocks add to it.

    Returns:
        An initializer of kernels of any shape.

    Raises:
        TypeError: If a number is no integer.
        ValueError: If a number is below 1.

    Source:
        Wang and Komatsuzaki 2021, "GPT-J-6B"; Black et al. 2022, "GPT-NeoX-20B", https://arxiv.org/abs/2204.06745.
    """
    check_size("features", features)
    check_size("num_blocks", num_blocks)
    return nn.initializers.normal(2 / (num_blocks * features**0.5))
