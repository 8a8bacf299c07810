"""What is good: returns and losses, arrays in, arrays out."""

from memorax.objectives.policy import clip_fraction, clipped_policy_loss, kl_estimate
from memorax.objectives.returns import episode_ends, lambda_returns, n_step_returns
from memorax.objectives.statistics import explained_variance, standardize, weighted_mean
from memorax.objectives.value import clipped_value_loss, value_loss

__all__ = [
    "clip_fraction",
    "clipped_policy_loss",
    "clipped_value_loss",
    "episode_ends",
    "explained_variance",
    "kl_estimate",
    "lambda_returns",
    "n_step_returns",
    "standardize",
    "value_loss",
    "weighted_mean",
]
