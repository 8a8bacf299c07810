"""Returns, losses and exploration as pure functions of arrays."""

from memorax.objectives.distributional import cross_entropy, gaussian_histogram, project
from memorax.objectives.exploration import epsilon_greedy, epsilon_greedy_branches, epsilon_per_actor
from memorax.objectives.obgd import obgd, obgd_step_size
from memorax.objectives.policy import clip_fraction, clipped_policy_loss, kl_estimate
from memorax.objectives.rescaling import rescale, unscale
from memorax.objectives.returns import episode_ends, lambda_returns, n_step_returns
from memorax.objectives.running_statistics import RunningStatistics
from memorax.objectives.soft import soft_value, temperature_loss
from memorax.objectives.statistics import explained_variance, standardize, weighted_mean
from memorax.objectives.value import clipped_value_loss, value_loss

__all__ = [
    "RunningStatistics",
    "clip_fraction",
    "clipped_policy_loss",
    "clipped_value_loss",
    "cross_entropy",
    "episode_ends",
    "epsilon_greedy",
    "epsilon_greedy_branches",
    "epsilon_per_actor",
    "explained_variance",
    "gaussian_histogram",
    "kl_estimate",
    "lambda_returns",
    "n_step_returns",
    "obgd",
    "obgd_step_size",
    "project",
    "rescale",
    "soft_value",
    "standardize",
    "temperature_loss",
    "unscale",
    "value_loss",
    "weighted_mean",
]
