"""Walking through a space and values of it, and the form in which policies give the actions of a space."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

from memorax.core.spaces.base import Space
from memorax.core.spaces.box import Box
from memorax.core.spaces.discrete import MultiBinary, MultiDiscrete
from memorax.core.spaces.nested import Dict, Tuple
from memorax.core.types import PyTree


def map_space(function: Callable[..., Any], space: Space, *values: PyTree) -> PyTree:
    """Apply a function to every space that is neither a Dict nor a Tuple, and to its parts of values.

    Args:
        function: `(space, *parts) -> result`.
        space: The space.
        *values: Nested as the space is: dictionaries with its keys, tuples of its length.

    Returns:
        The results, in a dictionary or a tuple where the space is one.
    """
    if isinstance(space, Dict):
        return {name: map_space(function, part, *(x[name] for x in values)) for name, part in space.spaces.items()}
    if isinstance(space, Tuple):
        return tuple(map_space(function, part, *(x[i] for x in values)) for i, part in enumerate(space.spaces))
    return function(space, *values)


def flatten_space(space: Space) -> Any:
    """Describe actions as policies give them: every array of the space is a vector.

    Args:
        space: An action space.

    Returns:
        The space with each Box, MultiDiscrete and MultiBinary as one of vectors; a Box of single numbers, shape `()`,
        becomes one of vectors of length 1. Spaces of vectors and Discrete spaces stay as they are.
    """
    return change_space(_vectors, space)


def change_space(change: Callable[[Any], Space], space: Space) -> Any:
    """Change every space that is neither a Dict nor a Tuple.

    Args:
        change: Maps such a space to another.
        space: The space.

    Returns:
        The space, nested as before, with its parts changed.
    """
    parts = map_space(change, space)
    return _rebuild(space, parts)


def _rebuild(space: Space, parts: Any) -> Space:
    if isinstance(space, Dict):
        return Dict({name: _rebuild(part, parts[name]) for name, part in space.spaces.items()})
    if isinstance(space, Tuple):
        return Tuple([_rebuild(part, parts[i]) for i, part in enumerate(space.spaces)])
    return parts


def _vectors(space: Space) -> Space:
    if isinstance(space, Box) and len(space.shape) != 1:
        return Box(space.low.ravel(), space.high.ravel(), (math.prod(space.shape),), space.dtype)
    if isinstance(space, MultiBinary):
        return MultiBinary(len(space.nvec), space.dtype)
    if isinstance(space, MultiDiscrete):
        return MultiDiscrete(space.nvec, space.dtype)
    return space


def plain(space: Space, value: PyTree) -> PyTree:
    """Give a value nested as its space is: dictionaries for Dict, tuples for Tuple.

    Args:
        space: The space.
        value: A value of it. For a Dict any mapping, a dataclass or a named tuple; for a Tuple any tuple. What fits
            neither is returned as it is. Keys that the space does not have, such as an action mask, are kept.
    """
    if isinstance(space, Dict):
        entries = _entries(value)
        if entries is None:
            return value
        return {name: plain(space.spaces[name], x) if name in space.spaces else x for name, x in entries.items()}
    if isinstance(space, Tuple) and isinstance(value, tuple) and len(value) == len(space.spaces):
        return tuple(plain(part, x) for part, x in zip(space.spaces, value, strict=True))
    return value


def _entries(value: Any) -> dict[str, Any] | None:
    """The entries of a mapping, a dataclass or a named tuple by name; None of anything else."""
    if isinstance(value, Mapping):
        return dict(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    as_dict = getattr(value, "_asdict", None)
    return None if as_dict is None else as_dict()
