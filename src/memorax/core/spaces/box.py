"""Spaces of arrays with bounds."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from memorax.core.spaces.base import Space, fits, narrow
from memorax.core.types import Array, Key, PyTree


class Box(Space):
    """Arrays with a lower and an upper bound for every entry; bounds may be infinite."""

    low: np.ndarray
    high: np.ndarray

    def __init__(self, low: Any, high: Any, shape: tuple[int, ...] | None = None, dtype: Any = jnp.float32) -> None:
        """Describe the space.

        Args:
            low: Lower bound, a number or an array.
            high: Upper bound, a number or an array; included.
            shape: Shape of a value; by default that of the bounds.
            dtype: Dtype of the values.

        Raises:
            ValueError: If the shapes disagree, a bound is NaN, or `low` exceeds `high` somewhere.
        """
        narrowed = narrow(dtype)
        if shape is None:
            shape = np.broadcast_shapes(np.shape(low), np.shape(high))
        shape = tuple(int(size) for size in shape)
        bounds = {"low": _bound("low", low, shape, narrowed), "high": _bound("high", high, shape, narrowed)}
        if (bounds["low"] > bounds["high"]).any():
            raise ValueError(f"`low` must not exceed `high`, got low {_short(low)} and high {_short(high)}")
        self._set(shape=shape, dtype=narrowed, **bounds)

    def sample(self, key: Key) -> Array:
        """Draw uniformly between finite bounds, normally without bounds, exponentially from a single bound."""
        if self.dtype.kind in "biu":  # not floating-point, of which bfloat16 is another kind to NumPy
            # The upper bound is included, so one past it must exist: the largest int32 is left out.
            top = np.minimum(self.high.astype(np.int64) + 1, np.iinfo(np.int32).max).astype(np.int32)
            low = np.clip(self.low.astype(np.int64), np.iinfo(np.int32).min, top.astype(np.int64) - 1)
            return jax.random.randint(key, self.shape, low.astype(np.int32), top).astype(self.dtype)
        low, high = self.low.astype(np.float32), self.high.astype(np.float32)
        bounded, free = np.isfinite(low) & np.isfinite(high), ~np.isfinite(low) & ~np.isfinite(high)
        near, far = np.where(np.isfinite(low), low, 0), np.where(np.isfinite(high), high, 0)
        uniform_key, normal_key, tail_key = jax.random.split(key, 3)
        value = jnp.zeros(self.shape, jnp.float32)
        if bounded.any():
            share = jax.random.uniform(uniform_key, self.shape)
            # Weighted this way round, wide bounds do not overflow.
            value = jnp.where(bounded, near * (1 - share) + far * share, value)
        if free.any():
            value = jnp.where(free, jax.random.normal(normal_key, self.shape), value)
        if not (bounded | free).all():
            tail = jax.random.exponential(tail_key, self.shape)
            value = jnp.where(bounded | free, value, jnp.where(np.isfinite(low), near + tail, far - tail))
        return jnp.clip(value, low, high).astype(self.dtype)

    def contains(self, x: PyTree) -> Array:
        """Whether `x` has the shape and lies within the bounds, both included; NaN does not."""
        if not fits(x, self.shape, self.dtype):
            return jnp.asarray(False)
        value = jnp.asarray(x)
        return jnp.all((value >= self.low) & (value <= self.high))

    def _identity(self) -> tuple[Any, ...]:
        return self.shape, self.dtype.name, self.low.tobytes(), self.high.tobytes()

    def __repr__(self) -> str:
        """The expression that creates it, bounds shortened to their extremes."""
        extremes = (self.low.min(), self.high.max()) if self.low.size else (0, 0)
        return f"Box({extremes[0]:g}, {extremes[1]:g}, {self.shape}, {self.dtype.name})"


def _bound(name: str, value: Any, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    if dtype.kind in "biu":
        limits = (0, 1) if dtype == np.bool_ else (np.iinfo(dtype).min, np.iinfo(dtype).max)
        value = np.clip(np.asarray(value), *limits)
    try:
        bound = np.broadcast_to(np.asarray(value), shape).astype(dtype)
    except ValueError:
        raise ValueError(f"`{name}` must broadcast to shape {shape}, got shape {np.shape(value)}") from None
    if np.isnan(bound).any():
        raise ValueError(f"`{name}` must not be NaN, got {_short(value)}")
    bound.flags.writeable = False
    return bound


def _short(value: Any) -> str:
    return np.array2string(np.asarray(value), threshold=8, separator=", ")
