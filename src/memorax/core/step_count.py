"""A count of steps that does not wrap: two words of 32 bits, since JAX computes with no longer integers by default."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from memorax.core.types import Array, Key

_WORD = 2**32


@struct.dataclass
class StepCount:
    """A number of steps up to 2^64, `2^32 high + low`.

    `int(count)` is the number, `numpy.asarray(counts)` the numbers of several seeds, uint64 `[seeds]`. What a compiled
    program needs are `count + steps`, `count % period`, and `count.as_float()` for schedules.

    Attributes:
        low: The lower 32 bits, uint32 `[]`.
        high: The upper 32 bits, uint32 `[]`.
    """

    low: Array
    high: Array

    @classmethod
    def of(cls, steps: int) -> "StepCount":
        """Make the count of a number of steps, from 0 to 2^64 - 1."""
        return cls(jnp.uint32(steps % _WORD), jnp.uint32(steps // _WORD))

    def __add__(self, steps: "int | Array") -> "StepCount":
        """Count further, by a Python integer from 0 to 2^64 - 1 or by a uint32 array `[]`."""
        more = StepCount.of(steps) if isinstance(steps, int) else StepCount(steps.astype(jnp.uint32), jnp.uint32(0))
        low = self.low + more.low
        return StepCount(low, self.high + more.high + (low < self.low).astype(jnp.uint32))

    def __mod__(self, period: int) -> Array:
        """Compute the remainder of the division by a Python integer from 1 to 2^31 - 1, uint32 `[]`."""
        divisor = jnp.uint32(period)
        # Long division: as many bits at a time as fit into a word beside a remainder.
        at_a_time, left = 32 - period.bit_length(), 32
        rest = self.high % divisor
        while left:
            bits = min(at_a_time, left)
            left -= bits
            digit = (self.low >> left) & jnp.uint32(2**bits - 1)
            rest = ((rest << bits) | digit) % divisor
        return rest

    def rounded_down(self, period: int) -> "StepCount":
        """Give the largest multiple of a period, 1 to 2^31 - 1, that is not above the count."""
        rest = self % period
        return StepCount(self.low - rest, self.high - (self.low < rest).astype(jnp.uint32))

    def as_float(self) -> Array:
        """Give the count as schedules take it, float32 `[]`: exact up to 2^24, to seven digits beyond."""
        return self.high.astype(jnp.float32) * float(_WORD) + self.low.astype(jnp.float32)

    def fold_into(self, key: Key) -> Key:
        """Derive a random key of this step from that of a run: another one at every count."""
        later = jnp.where(self.high == 0, key, jax.random.fold_in(key, self.high))
        return jax.random.fold_in(later, self.low)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Give the numbers as a NumPy array, uint64."""
        total = np.asarray(self.high).astype(np.uint64) * np.uint64(_WORD) + np.asarray(self.low)
        return np.array(total, dtype=dtype, copy=copy)

    def __int__(self) -> int:
        """Give the number, of a single seed and outside of compiled programs."""
        return int(np.asarray(self))

    def __eq__(self, other: object) -> Any:
        """Compare with another count, or with a number; outside of compiled programs."""
        if isinstance(other, StepCount):
            return (self.low, self.high) == (other.low, other.high)
        return np.asarray(self) == other

    def __format__(self, spec: str) -> str:
        """Format the number."""
        return format(int(self), spec)
