"""Statistics over steps with weights, so that steps without a valid target can be left out."""

import jax.numpy as jnp

from memorax.core.types import Array


def weighted_mean(x: Array, weight: Array) -> Array:
    """Compute the weighted mean of `x`; zero if all weights are zero.

    Args:
        x: Values of any shape; values of weight 0 may be NaN or infinite.
        weight: Weight of each value, of the same shape: 1 to include it, 0 to leave it out.

    Returns:
        The mean, `[]`.
    """
    return jnp.sum(jnp.where(weight > 0, x, 0.0) * weight) / jnp.maximum(jnp.sum(weight), 1.0)


def standardize(x: Array, weight: Array, *, epsilon: float = 1e-8) -> Array:
    """Shift and scale `x` so that its weighted mean is 0 and its weighted standard deviation 1.

    Args:
        x: Values of any shape, advantages for instance.
        weight: Weight of each value, of the same shape.
        epsilon: Added to the standard deviation.

    Returns:
        Standardized values, of the same shape.
    """
    mean = weighted_mean(x, weight)
    deviation = jnp.sqrt(weighted_mean(jnp.square(x - mean), weight))
    return (x - mean) / (deviation + epsilon)


def explained_variance(prediction: Array, target: Array, weight: Array) -> Array:
    """Compute the fraction of the targets' variance that a prediction explains.

    1 is a perfect prediction, 0 is as good as a constant, and below 0 is worse than a constant.

    Args:
        prediction: Predicted values of any shape.
        target: Target values, of the same shape.
        weight: Weight of each value, of the same shape.

    Returns:
        `1 - Var(target - prediction) / Var(target)`, `[]`.
    """
    error = target - prediction
    unexplained = weighted_mean(jnp.square(error - weighted_mean(error, weight)), weight)
    variance = weighted_mean(jnp.square(target - weighted_mean(target, weight)), weight)
    return 1.0 - unexplained / jnp.maximum(variance, 1e-8)
