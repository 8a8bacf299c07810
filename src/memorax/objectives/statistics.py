"""Means in which every step has a weight: steps without a target weigh nothing."""

import jax.numpy as jnp

from memorax.core.types import Array


def weighted_mean(x: Array, weight: Array) -> Array:
    """Average `x` over the steps that count; zero where none does.

    Args:
        x: Any shape.
        weight: Same shape, 1 where a step counts and 0 where it does not.
    """
    return jnp.sum(jnp.where(weight > 0, x, 0.0) * weight) / jnp.maximum(jnp.sum(weight), 1.0)


def standardize(x: Array, weight: Array, *, epsilon: float = 1e-8) -> Array:
    """Shift and scale `x` to mean 0 and standard deviation 1 over the steps that count.

    Args:
        x: Any shape.
        weight: Same shape.
        epsilon: Added to the standard deviation.
    """
    mean = weighted_mean(x, weight)
    deviation = jnp.sqrt(weighted_mean(jnp.square(x - mean), weight))
    return (x - mean) / (deviation + epsilon)


def explained_variance(prediction: Array, target: Array, weight: Array) -> Array:
    """Tell how much of the targets' variance a prediction explains: 1 all, 0 none, below 0 worse than their mean.

    Args:
        prediction: Any shape.
        target: Same shape.
        weight: Same shape.
    """
    error = target - prediction
    unexplained = weighted_mean(jnp.square(error - weighted_mean(error, weight)), weight)
    variance = weighted_mean(jnp.square(target - weighted_mean(target, weight)), weight)
    return 1.0 - unexplained / jnp.maximum(variance, 1e-8)
