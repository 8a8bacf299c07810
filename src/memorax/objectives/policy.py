"""Policy losses."""

import jax.numpy as jnp

from memorax.core.types import Array
from memorax.objectives.statistics import weighted_mean


def clipped_policy_loss(log_ratio: Array, advantage: Array, weight: Array, clip_coefficient: float) -> Array:
    """Compute PPO's clipped surrogate: `-mean(min(ratio A, clip(ratio, 1 - c, 1 + c) A))`.

    Args:
        log_ratio: Log-probability of each action now minus when it was taken, `[batch, time]`, nats.
        advantage: `[batch, time]`.
        weight: `[batch, time]`.
        clip_coefficient: How far the ratio may move and still be rewarded.

    Source:
        Schulman et al. 2017, "Proximal Policy Optimization Algorithms", equation 7.
    """
    # A ratio that overflows would turn the zero gradient of the clipped branch into NaN.
    ratio = jnp.exp(jnp.minimum(log_ratio, 20.0))
    clipped = jnp.clip(ratio, 1.0 - clip_coefficient, 1.0 + clip_coefficient)
    return -weighted_mean(jnp.minimum(ratio * advantage, clipped * advantage), weight)


def kl_estimate(log_ratio: Array, weight: Array) -> Array:
    """Estimate KL(old || new) without bias and never below zero: `mean((ratio - 1) - log ratio)`, nats.

    Args:
        log_ratio: Log-probability of each action now minus when it was taken, `[batch, time]`, nats.
        weight: `[batch, time]`.

    Source:
        Schulman 2020, "Approximating KL Divergence" (the estimator called k3).
    """
    return weighted_mean(jnp.expm1(log_ratio) - log_ratio, weight)


def clip_fraction(log_ratio: Array, weight: Array, clip_coefficient: float) -> Array:
    """Tell which share of the steps has a ratio outside the clip range.

    Args:
        log_ratio: `[batch, time]`, nats.
        weight: `[batch, time]`.
        clip_coefficient: Half the width of the clip range.
    """
    outside = jnp.abs(jnp.exp(log_ratio) - 1.0) > clip_coefficient
    return weighted_mean(outside.astype(jnp.float32), weight)
