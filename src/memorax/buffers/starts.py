"""Start flags: at which steps the sequences of a replay buffer may start."""

import jax
import jax.numpy as jnp

from memorax.core.types import Array, PyTree, Timestep, Transition


def get_start_flags_from_done(experience: PyTree) -> Array:
    """Let sequences start at the first steps of episodes only.

    Sequences have a fixed length and continue into the next episode where one ends; of an episode that is longer, only
    the first steps are ever sampled. Use `get_full_start_flags` to sample from anywhere in an episode.

    Args:
        experience: `Transition` or `Timestep`, `[batch, time, ...]`.

    Returns:
        Start flags, bool `[batch, time]`.

    Raises:
        TypeError: `experience` has no flags for the first steps of episodes.
    """
    if isinstance(experience, Transition):
        return experience.inputs.done
    if isinstance(experience, Timestep):
        return experience.done
    raise TypeError(
        f"`get_start_flags_from_done` needs a `Transition` or `Timestep`, got {type(experience).__name__}; "
        "pass `get_start_flags`, a function that tells the starts of your items"
    )


def get_full_start_flags(experience: PyTree) -> Array:
    """Let sequences start at any step.

    Args:
        experience: Pytree of arrays, `[batch, time, ...]`.

    Returns:
        Start flags, bool `[batch, time]`, all True.
    """
    return jnp.ones(jax.tree.leaves(experience)[0].shape[:2], bool)
