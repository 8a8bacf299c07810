"""What algorithms learn with: networks in their environments, replay, minibatches, targets and auxiliary losses."""

from memorax.learning.actor_critic import ActorCritic, ActorCriticLearner
from memorax.learning.adjustable_optimizer import AdjustableOptimizer
from memorax.learning.agent_networks import AgentNetworks, SingleNetwork
from memorax.learning.auxiliary import Auxiliary
from memorax.learning.minibatches import as_single_steps, minibatch_epochs, minibatch_indices, take
from memorax.learning.q_function import QFunction
from memorax.learning.reconstruction import ImageDecoder, Reconstruction
from memorax.learning.replay import ReplayConfig, default_buffer, use_sequences
from memorax.learning.soft_actor_critic import SoftActorCritic
from memorax.learning.target_network import target_copy, update_target
from memorax.learning.train_state import Schedule, TrainState, check_optimizers, check_schedule
from memorax.learning.unroll import add_time, remove_time, unroll, unroll_with_losses

__all__ = [
    "ActorCritic",
    "ActorCriticLearner",
    "AdjustableOptimizer",
    "AgentNetworks",
    "Auxiliary",
    "ImageDecoder",
    "QFunction",
    "Reconstruction",
    "ReplayConfig",
    "Schedule",
    "SingleNetwork",
    "SoftActorCritic",
    "TrainState",
    "add_time",
    "as_single_steps",
    "check_optimizers",
    "check_schedule",
    "default_buffer",
    "minibatch_epochs",
    "minibatch_indices",
    "remove_time",
    "take",
    "target_copy",
    "unroll",
    "unroll_with_losses",
    "update_target",
    "use_sequences",
]
