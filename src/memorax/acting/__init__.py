"""How agents and environments meet: the vectorized environments, and the on-policy and off-policy loops."""

from memorax.acting.agent import Algorithm, Behavior
from memorax.acting.episodes import play_episodes
from memorax.acting.multi_agent import MultiAgentVectorEnv, SingleAgentView
from memorax.acting.normalization import NormalizationConfig, Normalizer, Scales
from memorax.acting.off_policy import OffPolicy, crosses, update_schedule
from memorax.acting.on_policy import OnPolicy
from memorax.acting.policy import AgentPolicy
from memorax.acting.state import State
from memorax.acting.vector_env import EpisodeStatistics, Policy, RolloutState, Value, VectorEnv
from memorax.core.hyperparameters import Adjustable, FromConfig, Values
from memorax.core.step_count import StepCount

__all__ = [
    "Adjustable",
    "AgentPolicy",
    "Algorithm",
    "Behavior",
    "EpisodeStatistics",
    "FromConfig",
    "MultiAgentVectorEnv",
    "NormalizationConfig",
    "Normalizer",
    "OffPolicy",
    "OnPolicy",
    "Policy",
    "RolloutState",
    "Scales",
    "SingleAgentView",
    "State",
    "StepCount",
    "Value",
    "Values",
    "VectorEnv",
    "crosses",
    "play_episodes",
    "update_schedule",
]
