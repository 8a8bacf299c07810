"""Initializers of kernels, biases and decay rates that Flax does not have."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.initializers import Initializer

from memorax.core.checks import check, real, size
from memorax.core.types import Array, Key


def small(features: int) -> Initializer:
    """Small initialization: normal with standard deviation `sqrt(2 / (5 features))`, for layers into a block.

    Args:
        features: Width of the residual stream.

    Returns:
        An initializer of kernels of any shape.

    Raises:
        TypeError: If `features` is no integer.
        ValueError: If `features` is below 1.

    Source:
        Nguyen and Salazar 2019, "Transformers without Tears: Improving the Normalization of Self-Attention",
        https://arxiv.org/abs/1910.05895
    """
    check("features", features, size())
    return _Normal((2 / (5 * features)) ** 0.5)


def wang(features: int, num_blocks: int) -> Initializer:
    """Wang initialization: normal with standard deviation `2 / (num_blocks sqrt(features))`, for layers out of a block.

    Args:
        features: Width of the residual stream.
        num_blocks: Number of blocks that add to it.

    Returns:
        An initializer of kernels of any shape.

    Raises:
        TypeError: If a number is no integer.
        ValueError: If a number is below 1.

    Source:
        Wang and Komatsuzaki 2021, "GPT-J-6B: A 6 Billion Parameter Autoregressive Language Model",
        https://github.com/kingoflolz/mesh-transformer-jax
        Black et al. 2022, "GPT-NeoX-20B: An Open-Source Autoregressive Language Model",
        https://arxiv.org/abs/2204.06745
    """
    check("features", features, size())
    check("num_blocks", num_blocks, size())
    return _Normal(2 / (num_blocks * features**0.5))


def step_size_bias(key: Key, shape: Any, dtype: Any = jnp.float32) -> Array:
    """Draw biases whose softplus, the step size of a state space model, is log-uniform in `[0.001, 0.1]`.

    Args:
        key: Random key.
        shape: One bias for each head or channel.
        dtype: Type of the biases.

    Returns:
        The biases.

    Source:
        Gu and Dao 2023, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces",
        https://arxiv.org/abs/2312.00752
    """
    size = jnp.exp(jax.random.uniform(key, shape, dtype, jnp.log(1e-3), jnp.log(0.1)))
    return size + jnp.log(-jnp.expm1(-size))


def log_of_uniform(low: float, high: float) -> Callable[[Key, tuple[int, ...]], Array]:
    """Draw logarithms of decay rates that are uniform in `[low, high]`.

    Args:
        low: Slowest rate, above 0.
        high: Fastest rate.

    Returns:
        An initializer of any shape.

    Source:
        Dao and Gu 2024, "Transformers are SSMs: Generalized Models and Efficient Algorithms Through Structured State
        Space Duality", https://arxiv.org/abs/2405.21060
    """

    def init(key: Key, shape: tuple[int, ...]) -> Array:
        return jnp.log(jax.random.uniform(key, shape, minval=low, maxval=high))

    return init


def sparse(sparsity: float = 0.9) -> Initializer:
    """Sparse initialization: uniform in `[-1, 1] / sqrt(fan_in)`, with most inputs of each unit set to zero at random.

    Differs from the paper: the number of zeros is rounded down, so that a unit with few inputs keeps at least one.

    Args:
        sparsity: Fraction of the inputs of a unit that is set to zero, [0, 1).

    Returns:
        An initializer of kernels `[..., inputs, units]`.

    Raises:
        ValueError: If `sparsity` is outside [0, 1).

    Source:
        Elsayed, Vasan and Mahmood 2024, "Streaming Deep Reinforcement Learning Finally Works",
        https://arxiv.org/abs/2410.14606
    """
    return _Sparse(check("sparsity", sparsity, real(0, below=1)))


@dataclasses.dataclass(frozen=True)
class _Normal:
    """A normal distribution around zero; unlike a local function it can be pickled, as can those below."""

    stddev: float

    def __call__(self, key: Key, shape: Any, dtype: Any = jnp.float32) -> Array:
        return nn.initializers.normal(self.stddev)(key, shape, dtype)


@dataclasses.dataclass(frozen=True)
class _Sparse:
    """See `sparse`."""

    sparsity: float

    def __call__(self, key: Key, shape: Any, dtype: Any = jnp.float32) -> Array:
        value_key, place_key = jax.random.split(key)
        fan_in = math.prod(shape[:-1])
        bound = fan_in**-0.5
        kernel = jax.random.uniform(value_key, (fan_in, shape[-1]), dtype, -bound, bound)
        places = jnp.broadcast_to(jnp.arange(fan_in)[:, None], kernel.shape)
        places = jax.random.permutation(place_key, places, axis=0, independent=True)
        return jnp.where(places < math.floor(self.sparsity * fan_in), 0, kernel).reshape(shape)
