"""What every space is."""

from abc import ABC, abstractmethod
from typing import Any

import jax.numpy as jnp
import numpy as np

from memorax.core.types import Array, Key, PyTree

_NARROW = {"float64": "float32", "int64": "int32", "uint64": "uint32"}


def narrow(dtype: Any) -> np.dtype:
    """The dtype in the width JAX computes with, so that a space never asks for 64 bits."""
    wide = np.dtype(dtype)
    return np.dtype(_NARROW.get(wide.name, wide))


class Space(ABC):
    """A set of values of fixed shape and dtype.

    Attributes:
        shape: Shape of one value (nested as the space is).
        dtype: Dtype of one value (nested as the space is).
    """

    shape: Any
    dtype: Any

    @abstractmethod
    def sample(self, key: Key) -> PyTree:
        """Draw a value.

        Args:
            key: Randomness.

        Returns:
            One value of the space.
        """

    @abstractmethod
    def contains(self, x: PyTree) -> Array:
        """Whether `x` is one value of the space; works inside `jax.jit`.

        Args:
            x: Any value.

        Returns:
            Boolean scalar.
        """

    @abstractmethod
    def _identity(self) -> tuple[Any, ...]:
        """What makes two spaces of this class equal, hashable."""

    def __eq__(self, other: object) -> bool:
        """Whether both describe the same set."""
        return type(self) is type(other) and self._identity() == other._identity()  # type: ignore[union-attr]

    def __hash__(self) -> int:
        """Hash of the description."""
        return hash((type(self).__name__, self._identity()))

    def __setattr__(self, name: str, value: Any) -> None:
        """Refuse changes: spaces are values."""
        raise AttributeError(f"`{type(self).__name__}` must not be changed, got `{name}`; make a new space")

    def _set(self, **fields: Any) -> None:
        for name, value in fields.items():
            object.__setattr__(self, name, value)


def fits(x: Any, shape: tuple[int, ...], dtype: np.dtype) -> bool:
    """Whether shape and kind of `x` are those of the space (known while tracing)."""
    try:
        found = jnp.result_type(x)
        return jnp.shape(x) == shape and np.can_cast(found, dtype, "same_kind")
    except TypeError:
        return False
