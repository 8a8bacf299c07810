"""Translation of spaces of Gymnasium, and of batches of their values."""

from typing import Any

import numpy as np

from memorax.core.spaces import Box, Dict, Space, Tuple, from_foreign
from memorax.core.types import PyTree

TEXT = ("Text", "MissionSpace")
"""Spaces of strings, which no network takes, by the name of their class."""


class Translation:
    """Values of a space of Gymnasium as values of a space of ours, `[batch, ...]`.

    Integers that do not start at 0 are shifted, and 64-bit dtypes become 32-bit ones.

    Args:
        foreign: The space of one environment.

    Raises:
        TypeError: It has no counterpart.

    Attributes:
        foreign: That space.
        space: Its counterpart.
    """

    def __init__(self, foreign: Any) -> None:
        self.foreign = foreign
        self.space: Space = _translate(foreign)

    def read(self, value: Any) -> PyTree:
        """Give a batch of the environments' values as values of ours; arrays are copied."""
        return _read(self.foreign, self.space, value)

    def write(self, value: PyTree) -> Any:
        """Give a batch of our values as the environments take them."""
        return _write(self.foreign, value)

    def zeros(self, batch: tuple[int, ...]) -> PyTree:
        """Make a batch of zeros of our space."""
        return _zeros(self.space, batch)


def is_text(space: Any) -> bool:
    """Whether a space is one of strings."""
    return any(cls.__name__ in TEXT for cls in type(space).__mro__)


def _has(space: Any, kind: str) -> bool:
    return any(cls.__name__ == kind for cls in type(space).__mro__)


def _translate(space: Any) -> Space:
    if _has(space, "Dict"):
        return Dict({str(name): _translate(part) for name, part in dict(space.spaces).items()})
    if _has(space, "Tuple"):
        return Tuple([_translate(part) for part in space.spaces])
    if np.any(getattr(space, "start", 0)):
        # The same space, counted from 0.
        space = type(space)(getattr(space, "nvec", getattr(space, "n", None)))
    return from_foreign(space)


def _read(foreign: Any, space: Any, value: Any) -> PyTree:
    if isinstance(space, Dict):
        return {name: _read(foreign[name], part, value[name]) for name, part in space.spaces.items()}
    if isinstance(space, Tuple):
        parts = zip(foreign.spaces, space.spaces, value, strict=True)
        return tuple(_read(*part) for part in parts)
    array = np.asarray(value) - getattr(foreign, "start", 0)
    return np.array(array, space.dtype).reshape(len(array), *space.shape)


def _write(foreign: Any, value: Any) -> Any:
    if _has(foreign, "Dict"):
        return {name: _write(part, value[name]) for name, part in dict(foreign.spaces).items()}
    if _has(foreign, "Tuple"):
        return tuple(_write(part, x) for part, x in zip(foreign.spaces, value, strict=True))
    array = np.asarray(value)
    return (array.reshape(len(array), *foreign.shape) + getattr(foreign, "start", 0)).astype(foreign.dtype)


def _zeros(space: Any, batch: tuple[int, ...]) -> PyTree:
    if isinstance(space, Dict):
        return {name: _zeros(part, batch) for name, part in space.spaces.items()}
    if isinstance(space, Tuple):
        return tuple(_zeros(part, batch) for part in space.spaces)
    return np.zeros((*batch, *space.shape), space.dtype)


class ChannelsLast(Translation):
    """A translation that moves the first axis of images, their channels or stacked frames, to the end.

    Args:
        foreign: The space of one environment; parts of it that are images with more pixels per side than channels, in
            bytes, are changed.

    Raises:
        TypeError: It has no counterpart.
    """

    def __init__(self, foreign: Any) -> None:
        super().__init__(foreign)
        self._read_as, self.space = self.space, change_images(self.space)

    def read(self, value: Any) -> PyTree:
        """Give a batch of the environments' values as values of ours."""
        return _moved(self._read_as, _read(self.foreign, self._read_as, value))


def change_images(space: Any) -> Any:
    """Describe a space whose images have their channels last."""
    if isinstance(space, Dict):
        return Dict({name: change_images(part) for name, part in space.spaces.items()})
    if not _is_image(space):
        return space
    return Box(
        np.moveaxis(space.low, 0, -1), np.moveaxis(space.high, 0, -1), (*space.shape[1:], space.shape[0]), np.uint8
    )


def _is_image(space: Any) -> bool:
    return (
        isinstance(space, Box) and len(space.shape) == 3 and space.dtype == np.uint8 and space.shape[0] < space.shape[2]
    )


def _moved(space: Any, value: Any) -> PyTree:
    if isinstance(space, Dict):
        return {name: _moved(part, value[name]) for name, part in space.spaces.items()}
    return np.ascontiguousarray(np.moveaxis(value, 1, -1)) if _is_image(space) else value


class OneHotCells(Translation):
    """A translation that writes grids of numbered kinds, colors and states as grids of one-hot vectors.

    Args:
        foreign: A Dict space.
        name: The entry that is changed, `[height, width, layers]`.
        sizes: How many numbers each layer has.

    Raises:
        TypeError: It has no counterpart.
    """

    def __init__(self, foreign: Any, name: str, sizes: tuple[int, ...]) -> None:
        super().__init__(foreign)
        self._name, self._sizes, self._read_as = name, sizes, self.space
        parts = dict(self._read_as.spaces)  # type: ignore[attr-defined]
        shape = (*parts[name].shape[:2], sum(sizes))
        self.space = Dict(parts | {name: Box(0.0, 1.0, shape)})

    def read(self, value: Any) -> PyTree:
        """Give a batch of the environments' values as values of ours."""
        read = _read(self.foreign, self._read_as, value)
        cells = read[self._name]
        vectors = [np.eye(n, dtype=np.float32)[cells[..., i]] for i, n in enumerate(self._sizes)]
        return read | {self._name: np.concatenate(vectors, axis=-1)}
