"""What stands on a torso: a policy or a value, ready for an objective."""

from memorax.networks.heads.policy import Beta, Categorical, Gaussian, SquashedGaussian
from memorax.networks.heads.value import ContinuousQNetwork, DiscreteQNetwork, TwinContinuousQNetwork, VNetwork

__all__ = [
    "Beta",
    "Categorical",
    "ContinuousQNetwork",
    "DiscreteQNetwork",
    "Gaussian",
    "SquashedGaussian",
    "TwinContinuousQNetwork",
    "VNetwork",
]
