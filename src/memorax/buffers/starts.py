"""Where sequences may begin."""

import jax
import jax.numpy as jnp

from memorax.core.types import Array, PyTree, Timestep, Transition


def get_start_flags_from_done(experience: PyTree) -> Array:
    """Let sequences begin where episodes do.

    A sequence is of fixed length and goes on into the next episode where one ends; of a long episode only the first
    steps are ever drawn. To draw from anywhere take `get_full_start_flags`.

    Args:
        experience: `Transition` or `Timestep`, `[batch, time, ...]`.

    Returns:
        bool `[batch, time]`.

    Raises:
        TypeError: `experience` does not say where episodes begin.
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
    """Let sequences begin anywhere.

    Args:
        experience: `[batch, time, ...]`.

    Returns:
        bool `[batch, time]`, all True.
    """
    return jnp.ones(jax.tree.leaves(experience)[0].shape[:2], bool)
