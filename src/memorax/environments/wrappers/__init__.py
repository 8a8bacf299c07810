"""Wrappers: environments around environments, a file for each."""

from memorax.environments.wrappers.action import ClipAction as ClipAction
from memorax.environments.wrappers.auto_reset import AutoReset as AutoReset
from memorax.environments.wrappers.base import Wrapper as Wrapper
from memorax.environments.wrappers.critic_state import CriticState as CriticState
from memorax.environments.wrappers.delay import DelayedObservation as DelayedObservation
from memorax.environments.wrappers.flicker import FlickeringObservation as FlickeringObservation
from memorax.environments.wrappers.frame_stack import FrameStack as FrameStack
from memorax.environments.wrappers.mask import HideVelocity as HideVelocity
from memorax.environments.wrappers.mask import MaskObservation as MaskObservation
from memorax.environments.wrappers.noise import NoisyObservation as NoisyObservation
from memorax.environments.wrappers.normalize import NormalizeObservation as NormalizeObservation
from memorax.environments.wrappers.periodic import PeriodicObservation as PeriodicObservation
from memorax.environments.wrappers.previous import PreviousActionReward as PreviousActionReward
from memorax.environments.wrappers.reset_pool import ResetPool as ResetPool
from memorax.environments.wrappers.reward import NormalizeReward as NormalizeReward
from memorax.environments.wrappers.reward import ScaleReward as ScaleReward
from memorax.environments.wrappers.statistics import RecordEpisodeStatistics as RecordEpisodeStatistics
from memorax.environments.wrappers.time_limit import TimeLimit as TimeLimit
