"""Spaces of finitely many values."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from memorax.core.checks import check, size
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
            ValueError: If `n` is below 1.
        """
        n = check("n", n, size())
        narrowed = narrow(dtype)
        if not np.issubdtype(narrowed, np.integer):
            raise TypeError(f"`dtype` of Discrete must be an integer dtype, got {narrowed.name}")
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
    """Vectors of integers, the i-th below `nvec[i]`."""

    def __init__(self, nvec: Sequence[int] | np.ndarray, dtype: Any = jnp.int32) -> None:
        """Describe the space.

        Args:
            nvec: How many values each entry has, at least 1 each.
            dtype: Integer dtype of the values.

        Raises:
            TypeError: If `nvec` or `dtype` is not an integer kind.
            ValueError: If `nvec` is not a vector, is empty, or has an entry below 1.
        """
        sizes = np.asarray(nvec)
        if sizes.ndim != 1 or sizes.size == 0:
            raise ValueError(f"`nvec` must be a vector with at least one entry, got shape {sizes.shape}")
        if not np.issubdtype(sizes.dtype, np.integer):
            raise TypeError(f"`nvec` must hold integers, got {sizes.dtype.name}")
        if (sizes < 1).any():
            raise ValueError(f"`nvec` must be at least 1 everywhere, got {sizes.tolist()}")
        narrowed = narrow(dtype)
        if not np.issubdtype(narrowed, np.integer):
            raise TypeError(f"`dtype` of MultiDiscrete must be an integer dtype, got {narrowed.name}")
        self._set(nvec=tuple(int(size) for size in sizes), shape=sizes.shape, dtype=narrowed)

    nvec: tuple[int, ...]

    def sample(self, key: Key) -> Array:
        """Draw uniformly."""
        return jax.random.randint(key, self.shape, 0, jnp.array(self.nvec, jnp.int32)).astype(self.dtype)

    def contains(self, x: PyTree) -> Array:
        """Whether `x` is an integer vector with every entry in range."""
        if not fits(x, self.shape, self.dtype):
            return jnp.asarray(False)
        value = jnp.asarray(x)
        return jnp.all((value >= 0) & (value < np.array(self.nvec)))

    def _identity(self) -> tuple[Any, ...]:
        return self.nvec, self.dtype.name

    def __repr__(self) -> str:
        """The expression that creates it."""
        return f"MultiDiscrete({list(self.nvec)})"
