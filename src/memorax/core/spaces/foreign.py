"""Translation of the spaces of other libraries."""

from typing import Any

import numpy as np

from memorax.core.spaces.base import Space
from memorax.core.spaces.box import Box
from memorax.core.spaces.discrete import Discrete, MultiBinary, MultiDiscrete
from memorax.core.spaces.nested import Dict, Tuple

_MEMBERS = {
    "Discrete": ("n",),
    "MultiDiscrete": ("nvec",),
    "MultiBinary": ("shape",),
    "Box": ("low", "high", "shape"),
    "Dict": ("spaces",),
    "Tuple": ("spaces",),
}


def _kind(space: Any) -> str | None:
    """The first class name in the ancestry that is known and whose attributes are there."""
    for cls in type(space).__mro__:
        if all(hasattr(space, member) for member in _MEMBERS.get(cls.__name__, ("missing attribute",))):
            return cls.__name__
    return None


def _discrete(space: Any) -> Space:
    start = int(getattr(space, "start", 0))
    if start != 0:
        raise ValueError(f"`start` of a foreign Discrete must be 0, got {start}; shift it in a wrapper")
    dtype = np.dtype(getattr(space, "dtype", None) or np.int32)
    # Some libraries declare the dtype of a one-hot or a default float here; an index is an integer.
    return Discrete(int(space.n), dtype if np.issubdtype(dtype, np.integer) else np.int32)


def _multi_discrete(space: Any) -> Space:
    start = np.asarray(getattr(space, "start", 0))
    if start.any():
        raise ValueError(f"`start` of a foreign MultiDiscrete must be 0, got {start.tolist()}; shift it in a wrapper")
    dtype = np.dtype(getattr(space, "dtype", None) or np.int32)
    return MultiDiscrete(
        np.asarray(space.nvec).astype(np.int32), dtype if np.issubdtype(dtype, np.integer) else np.int32
    )


def _box(space: Any) -> Space:
    shape = space.shape if space.shape is not None else np.shape(space.low)
    return Box(np.asarray(space.low), np.asarray(space.high), tuple(shape), getattr(space, "dtype", np.float32))


def from_foreign(space: Any) -> Space:  # noqa: PLR0911 - one return a kind
    """Translate a space of gymnax, gymnasium or a library like them; ours pass through.

    The kind is recognized by class name and attributes, so none of these libraries is imported. 64-bit dtypes
    become 32-bit ones.

    Args:
        space: A space object.

    Returns:
        The same set as a space of ours.

    Raises:
        TypeError: If the object is not recognized.
        ValueError: If the space has no counterpart (Discrete or MultiDiscrete that do not start at 0).
    """
    if isinstance(space, Space):
        return space
    kind = _kind(space)
    if kind == "Discrete":
        return _discrete(space)
    if kind == "MultiDiscrete":
        return _multi_discrete(space)
    if kind == "MultiBinary":
        return MultiBinary(tuple(space.shape), np.int8)
    if kind == "Box":
        return _box(space)
    if kind == "Dict":
        return Dict({str(name): from_foreign(part) for name, part in dict(space.spaces).items()})
    if kind == "Tuple":
        return Tuple([from_foreign(part) for part in space.spaces])
    raise TypeError(f"`space` must be one of {', '.join(_MEMBERS)}, got {space!r}; give an object like gymnax's")
