"""Value losses."""

import jax.numpy as jnp

from memorax.core.types import Array
from memorax.objectives.statistics import weighted_mean


def value_loss(value: Array, target: Array, weight: Array) -> Array:
    """Compute half the mean squared error.

    Args:
        value: `[batch, time]`.
        target: `[batch, time]`.
        weight: `[batch, time]`.
    """
    return 0.5 * weighted_mean(jnp.square(value - target), weight)


def clipped_value_loss(value: Array, old_value: Array, target: Array, weight: Array, clip_coefficient: float) -> Array:
    """Compute half the larger of two squared errors: of the value, and of the value kept near the old one.

    Args:
        value: `[batch, time]`.
        old_value: The value while acting, `[batch, time]`.
        target: `[batch, time]`.
        weight: `[batch, time]`.
        clip_coefficient: How far from the old value a value may move and still be rewarded, in units of the return.
    """
    near = old_value + jnp.clip(value - old_value, -clip_coefficient, clip_coefficient)
    error = jnp.maximum(jnp.square(value - target), jnp.square(near - target))
    return 0.5 * weighted_mean(error, weight)
