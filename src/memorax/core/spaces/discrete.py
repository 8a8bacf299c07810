"""Spaces of finitely many values."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from memorax.core.checks import check, sequence, size
from memorax.core.spaces.base import Space, fits, narrow
from memorax.core.types import Array, Key, PyTree


class Discrete(Space):
    """The integers `0 .. n-1`."""

    def __init__(self, n: int, dtype: Any = jnp.int32) -> None:
        """Describe the space.

        Args:
            n: How many values there are, at least 1.
            dtype: Integer dtype of the values.

        Raises:
            TypeError: If `n` or `dtype` is not an integer kind.
            ValueError: If `n` is below 1, or the dtype does not hold `n - 1`.
        """
        n = check("n", n, size())
        narrowed = _integer_dtype("Discrete", dtype, n)
        self._set(n=n, shape=(), dtype=narrowed)

    n: int

    def sample(self, key: Key) -> Array:
        """Draw uniformly."""
        return jax.random.randint(key, (), 0, self.n).astype(self.dtype)

    def contains(self, x: PyTree) -> Array:
        """Whether `x` is an integer scalar in `[0, n)`."""
        if not fits(x, (), self.dtype):
            return jnp.asarray(False)
        value = jnp.asarray(x)
        return (value >= 0) & (value < self.n)

    def _identity(self) -> tuple[Any, ...]:
        return self.n, self.dtype.name

    def __repr__(self) -> str:
        """The expression that creates it."""
        return f"Discrete({self.n})"


class MultiDiscrete(Space):
    """Arrays of integers, each below its entry of `nvec`; usually vectors.

    Attributes:
        nvec: How many values each entry has, in the order of the flattened array.
    """

    nvec: tuple[int, ...]

    def __init__(self, nvec: Sequence[Any] | np.ndarray, dtype: Any = jnp.int32) -> None:
        """Describe the space.

        Args:
            nvec: How many values each entry has, at least 1 each; its shape is that of the values.
            dtype: Integer dtype of the values.

        Raises:
            TypeError: If `nvec` or `dtype` is not an integer kind.
            ValueError: If `nvec` is a number, is empty, or has an entry below 1, or the dtype does not hold all values.
        """
        sizes = np.asarray(nvec)
        if sizes.ndim == 0 or sizes.size == 0:
            raise ValueError(f"`nvec` must be a vector with at least one entry, got shape {sizes.shape}")
        if not np.issubdtype(sizes.dtype, np.integer):
            raise TypeError(f"`nvec` must hold integers, got {sizes.dtype.name}")
        if (sizes < 1).any():
            raise ValueError(f"`nvec` must be at least 1 everywhere, got {sizes.tolist()}")
        narrowed = _integer_dtype("MultiDiscrete", dtype, int(sizes.max()))
        self._set(nvec=tuple(int(size) for size in sizes.ravel()), shape=sizes.shape, dtype=narrowed)

    def sample(self, key: Key) -> Array:
        """Draw uniformly."""
        return jax.random.randint(key, self.shape, 0, jnp.array(self._sizes(), jnp.int32)).astype(self.dtype)

    def contains(self, x: PyTree) -> Array:
        """Whether `x` is an array of integers with every entry in range."""
        if not fits(x, self.shape, self.dtype):
            return jnp.asarray(False)
        value = jnp.asarray(x)
        return jnp.all((value >= 0) & (value < self._sizes()))

    def _sizes(self) -> np.ndarray:
        return np.array(self.nvec).reshape(self.shape)

    def _identity(self) -> tuple[Any, ...]:
        return self.nvec, self.shape, self.dtype.name

    def __repr__(self) -> str:
        """The expression that creates it."""
        return f"MultiDiscrete({self._sizes().tolist()})"


class MultiBinary(MultiDiscrete):
    """Arrays of flags, 0 or 1: a `MultiDiscrete` of twos that networks see as one number for each flag."""

    def __init__(self, shape: int | Sequence[int], dtype: Any = jnp.int8) -> None:
        """Describe the space.

        Args:
            shape: How many flags there are, or the shape of an array of them.
            dtype: Integer dtype of the values, or bool.

        Raises:
            TypeError: If `shape` or `dtype` is not an integer kind.
            ValueError: If there is no flag.
        """
        several = isinstance(shape, Sequence | np.ndarray)
        sizes = check("shape", tuple(shape), sequence(size())) if several else (check("shape", shape, size()),)
        narrowed = narrow(dtype)
        if narrowed != np.bool_:
            narrowed = _integer_dtype("MultiBinary", dtype, 2)
        self._set(nvec=(2,) * math.prod(sizes), shape=sizes, dtype=narrowed)

    def contains(self, x: PyTree) -> Array:
        """Whether `x` is an array of zeros and ones of this shape."""
        if not fits(x, self.shape, self.dtype):
            return jnp.asarray(False)
        value = jnp.asarray(x)
        return jnp.all((value == 0) | (value == 1))

    def __repr__(self) -> str:
        """The expression that creates it."""
        return f"MultiBinary({self.shape[0] if len(self.shape) == 1 else self.shape})"


def _integer_dtype(owner: str, dtype: Any, n: int) -> np.dtype:
    """Check a dtype for the numbers below `n`."""
    narrowed = narrow(dtype)
    if not np.issubdtype(narrowed, np.integer):
        raise TypeError(f"`dtype` of {owner} must be an integer dtype, got {narrowed.name}")
    if n - 1 > np.iinfo(narrowed).max:
        raise ValueError(f"`dtype` of {owner} must hold numbers up to {n - 1}, got {narrowed.name}; take a wider one")
    return narrowed
