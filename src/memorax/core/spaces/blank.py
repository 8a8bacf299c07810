"""What stands for an observation that is hidden."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from memorax.core.spaces.base import Space
from memorax.core.spaces.box import Box
from memorax.core.spaces.discrete import Discrete, MultiBinary, MultiDiscrete
from memorax.core.spaces.flat import change_space, map_space
from memorax.core.types import Array, PyTree


def with_blank(space: Space) -> Any:
    """Give the space of observations of which some are hidden.

    Args:
        space: The space of what is seen.

    Returns:
        The space with what stands for nothing in it: for Box and MultiBinary zeros; for a Discrete one number more,
        `n`, and so for each entry of a MultiDiscrete; for Dict and Tuple that of each part.

    Raises:
        ValueError: The dtype of a Discrete or MultiDiscrete does not hold one number more.
    """
    return change_space(_with_blank, space)


def blank(space: Space, observation: PyTree) -> PyTree:
    """Give what stands for a hidden observation.

    Args:
        space: The space of what is seen, without the blank.
        observation: An observation, whose shapes and dtypes are kept.
    """

    def nothing(space: Any, x: Array) -> Array:
        if isinstance(space, Discrete):
            return jnp.full_like(x, space.n)
        if isinstance(space, MultiDiscrete) and not isinstance(space, MultiBinary):
            return jnp.broadcast_to(jnp.asarray(np.reshape(space.nvec, space.shape), x.dtype), x.shape)
        return jnp.zeros_like(x)

    return map_space(nothing, space, observation)


def _with_blank(space: Any) -> Space:
    if isinstance(space, Box):
        return Box(space.low.clip(max=0), space.high.clip(min=0), space.shape, space.dtype)
    if isinstance(space, Discrete):
        return Discrete(space.n + 1, space.dtype)
    if isinstance(space, MultiDiscrete) and not isinstance(space, MultiBinary):
        return MultiDiscrete(np.reshape(space.nvec, space.shape) + 1, space.dtype)
    return space
