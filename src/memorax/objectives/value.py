"""Losses of scalar value functions."""

import jax.numpy as jnp

from memorax.core.types import Array
from memorax.objectives.statistics import weighted_mean


def value_loss(value: Array, target: Array, weight: Array) -> Array:
    """Compute the value loss: half the mean squared error.

    Args:
        value: Predicted values, `[batch, time]`.
        target: Target values, `[batch, time]`.
        weight: Weight of each step, 0 for steps to leave out, `[batch, time]`.

    Returns:
        The loss, `[]`.
    """
    return 0.5 * weighted_mean(jnp.square(value - target), weight)


def clipped_value_loss(value: Array, old_value: Array, target: Array, weight: Array, clip_coefficient: float) -> Array:
    """Compute PPO's clipped value loss.

    Half the mean of the larger of two squared errors: that of the value, and that of the value clipped to within
    `clip_coefficient` of the old one.

    Args:
        value: Predicted values, `[batch, time]`.
        old_value: Values that were predicted while acting, `[batch, time]`.
        target: Target values, `[batch, time]`.
        weight: Weight of each step, 0 for steps to leave out, `[batch, time]`.
        clip_coefficient: Clipping range of the value around the old value, in units of the return.

    Returns:
        The loss, `[]`.

    Source:
        Baselines' `ppo2`; see Andrychowicz et al. 2021, "What Matters for On-Policy Deep Actor-Critic Methods?",
        https://arxiv.org/abs/2006.05990.
    """
    near = old_value + jnp.clip(value - old_value, -clip_coefficient, clip_coefficient)
    error = jnp.maximum(jnp.square(value - target), jnp.square(near - target))
    return 0.5 * weighted_mean(error, weight)
