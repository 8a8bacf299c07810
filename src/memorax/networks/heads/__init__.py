"""Heads: policies, value functions and action-value functions on the outputs of a torso."""

from memorax.networks.heads.branching import BranchingQNetwork, BranchValues
from memorax.networks.heads.distributional import (
    C51QNetwork,
    C51Values,
    HLGaussQNetwork,
    HLGaussValues,
    HLGaussVNetwork,
    ValueDistribution,
)
from memorax.networks.heads.horde import GVF, Horde, HordeValues
from memorax.networks.heads.joint import Hybrid, MultiCategorical
from memorax.networks.heads.policy import Beta, Categorical, Gaussian, SquashedGaussian
from memorax.networks.heads.protocol import Distribution, PolicyHead, ValueHead, check_policy_head
from memorax.networks.heads.temperature import Alpha
from memorax.networks.heads.value import ContinuousQNetwork, DiscreteQNetwork, TwinContinuousQNetwork, VNetwork

__all__ = [
    "GVF",
    "Alpha",
    "Beta",
    "BranchValues",
    "BranchingQNetwork",
    "C51QNetwork",
    "C51Values",
    "Categorical",
    "ContinuousQNetwork",
    "DiscreteQNetwork",
    "Distribution",
    "Gaussian",
    "HLGaussQNetwork",
    "HLGaussVNetwork",
    "HLGaussValues",
    "Horde",
    "HordeValues",
    "Hybrid",
    "MultiCategorical",
    "PolicyHead",
    "SquashedGaussian",
    "TwinContinuousQNetwork",
    "VNetwork",
    "ValueDistribution",
    "ValueHead",
    "check_policy_head",
]
