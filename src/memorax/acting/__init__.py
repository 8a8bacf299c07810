"""How agent and environment meet: the loop, the unroll, the drivers."""

from memorax.acting.algorithm import Algorithm, Behavior, OnPolicy, State
from memorax.acting.loop import Episode, Loop, Policy, Stage, Value
from memorax.acting.minibatches import as_single_steps, minibatch_indices, take
from memorax.acting.model import Model
from memorax.acting.normalization import NormalizationConfig, Normalizer, Scales
from memorax.acting.off_policy import Buffer, OffPolicy, crosses, schedule_of_updates
from memorax.acting.unroll import add_time, remove_time, unroll, unroll_with_losses

__all__ = [
    "Algorithm",
    "Behavior",
    "Buffer",
    "Episode",
    "Loop",
    "Model",
    "NormalizationConfig",
    "Normalizer",
    "OffPolicy",
    "OnPolicy",
    "Policy",
    "Scales",
    "Stage",
    "State",
    "Value",
    "add_time",
    "as_single_steps",
    "crosses",
    "minibatch_indices",
    "remove_time",
    "schedule_of_updates",
    "take",
    "unroll",
    "unroll_with_losses",
]
