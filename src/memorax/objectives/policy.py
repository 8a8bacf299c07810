"""Policy gradient losses."""

import jax.numpy as jnp

from memorax.core.types import Array
from memorax.objectives.statistics import weighted_mean


def clipped_policy_loss(log_ratio: Array, advantage: Array, weight: Array, clip_coefficient: float) -> Array:
    """Compute PPO's clipped surrogate loss, `-mean(min(ratio A, clip(ratio, 1 - c, 1 + c) A))`.

    Args:
        log_ratio: Log-probability of each action under the current policy minus that under the policy that took it,
            `[batch, time]`, nats.
        advantage: Advantage estimates A, `[batch, time]`.
        weight: Weight of each step, 0 for steps to leave out, `[batch, time]`.
        clip_coefficient: Surrogate clipping range c, positive.

    Returns:
        The loss, `[]`.

    Source:
        Schulman et al. 2017, "Proximal Policy Optimization Algorithms", https://arxiv.org/abs/1707.06347, equation 7.
    """
    # A ratio that overflows would turn the zero gradient of the clipped branch into NaN.
    ratio = jnp.exp(jnp.minimum(log_ratio, 20.0))
    clipped = jnp.clip(ratio, 1.0 - clip_coefficient, 1.0 + clip_coefficient)
    return -weighted_mean(jnp.minimum(ratio * advantage, clipped * advantage), weight)


def kl_estimate(log_ratio: Array, weight: Array) -> Array:
    """Estimate the KL divergence from the old policy to the new, KL(old || new), as `mean((ratio - 1) - log ratio)`.

    This estimator, known as k3, is unbiased and never negative.

    Args:
        log_ratio: Log-probability of each action under the new policy minus that under the old policy, which took it,
            `[batch, time]`, nats.
        weight: Weight of each step, 0 for steps to leave out, `[batch, time]`.

    Returns:
        The estimate, `[]`, nats.

    Source:
        Schulman 2020, "Approximating KL Divergence", http://joschu.net/blog/kl-approx.html.
    """
    return weighted_mean(jnp.expm1(log_ratio) - log_ratio, weight)


def clip_fraction(log_ratio: Array, weight: Array, clip_coefficient: float) -> Array:
    """Compute the fraction of steps whose probability ratio is outside the clipping range.

    Args:
        log_ratio: Log-probability of each action under the current policy minus that under the policy that took it,
            `[batch, time]`, nats.
        weight: Weight of each step, 0 for steps to leave out, `[batch, time]`.
        clip_coefficient: Surrogate clipping range: the ratio is inside while it differs from 1 by at most this.

    Returns:
        The fraction, `[]`, in `[0, 1]`.
    """
    outside = jnp.abs(jnp.exp(log_ratio) - 1.0) > clip_coefficient
    return weighted_mean(outside.astype(jnp.float32), weight)
