"""Where a step of the environments first has NaN or infinity: in what they gave, or in what the agent made of it."""

from typing import Any

import jax
import jax.numpy as jnp

from memorax.core.types import Array, PyTree

STEP, LEARNER = "faults/step", "faults/learner"
"""Names under which faults are logged while environments are watched: of every step, and after every update."""
NO_FAULT, SEEN, ACTED, REWARD, OBSERVATION = range(5)
"""What is not finite first: nothing, the observation acted on, what the agent made of it, the reward, the observation
that followed."""


def first_fault(seen: PyTree, acted: PyTree, reward: Array, observation: PyTree) -> Array:
    """Find what is not finite first in a step; each argument is caused by those before it.

    Args:
        seen: The observation acted on; like all others every leaf is `[batch, ...]`.
        acted: The action, and what the policy recorded.
        reward: The reward.
        observation: The observation that followed, and the final one of an episode.

    Returns:
        One of the numbers above, int8 `[batch]`.
    """
    parts = {OBSERVATION: observation, REWARD: reward, ACTED: acted, SEEN: seen}
    fault = jnp.full(reward.shape[0], NO_FAULT, jnp.int8)
    for number, part in parts.items():
        fault = jnp.where(finite_rows(part), fault, jnp.int8(number))
    return fault


def finite_rows(tree: PyTree) -> Array:
    """Whether all numbers of a row are finite, bool `[batch]`; True where there are none that could be infinite."""
    rows = [jnp.all(jnp.isfinite(x).reshape(x.shape[0], -1), axis=1) for x in _floats(tree)]
    return jnp.all(jnp.stack(rows), axis=0) if rows else jnp.ones((), bool)


def finite(tree: PyTree) -> Array:
    """Whether all numbers of a pytree are finite, `[]`."""
    parts = [jnp.all(jnp.isfinite(x)) for x in _floats(tree)]
    return jnp.all(jnp.stack(parts)) if parts else jnp.ones((), bool)


def _floats(tree: PyTree) -> list[Any]:
    return [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.inexact)]
