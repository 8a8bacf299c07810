"""Target networks: slower copies of networks, which returns bootstrap from."""

import jax
import jax.numpy as jnp
import optax

from memorax.acting.off_policy import crosses
from memorax.core.step_count import StepCount
from memorax.core.types import PyTree
from memorax.learning.replay import ReplayConfig


def target_copy(params: PyTree) -> PyTree:
    """Make the parameters of a target network."""
    return jax.tree.map(jnp.copy, params)


def update_target(config: ReplayConfig, step: StepCount, params: PyTree, target: PyTree) -> PyTree:
    """Move a target network towards the network with step size `tau`, once per `target_update_frequency` transitions.

    Args:
        config: The configuration.
        step: Transitions before this update.
        params: Parameters of the network.
        target: Parameters of the target network.
    """
    moved = optax.incremental_update(params, target, config.tau)
    due = crosses(step, config.train_frequency, config.target_update_frequency)
    return jax.tree.map(lambda new, old: jnp.where(due, new, old), moved, target)
