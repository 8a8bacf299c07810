"""Mean and variance of what was seen so far, kept up to date batch by batch."""

import jax
import jax.numpy as jnp
from flax import struct

from memorax.core.types import Array, PyTree


@struct.dataclass
class RunningStatistics:
    """Mean and sample variance of everything seen so far; nothing is assumed before the first sample.

    Attributes:
        count: How many samples were seen, uint32 `[]`.
        mean: Their mean, per number of a sample.
        variance: The sum of squared deviations over `count - 1`; zero before the second sample.
    """

    count: Array
    mean: PyTree
    variance: PyTree

    @classmethod
    def start(cls, like: PyTree) -> "RunningStatistics":
        """Begin with nothing.

        Args:
            like: A sample; shapes and dtypes are enough.
        """
        zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), like)
        return cls(jnp.zeros((), jnp.uint32), zeros, zeros)

    def update(self, batch: PyTree) -> "RunningStatistics":
        """Take in a batch.

        Written as steps towards the batch, which vanish as the count grows, where sums would outgrow their precision.

        Args:
            batch: Samples, `[batch, ...]`.

        Returns:
            The statistics of all samples, the same however they were batched.

        Source:
            Chan, Golub and LeVeque 1983, "Algorithms for Computing the Sample Variance".
        """
        size = jax.tree.leaves(batch)[0].shape[0]
        count = self.count + jnp.uint32(size)
        before, after = self.count.astype(jnp.float32), count.astype(jnp.float32)

        def merge(mean: Array, variance: Array, x: Array) -> tuple[Array, Array]:
            center = jnp.mean(x, axis=0)
            shift = center - mean
            squares = jnp.sum(jnp.square(x - center), axis=0) + jnp.square(shift) * before * (size / after)
            change = (squares - size * variance) / jnp.maximum(after - 1.0, 1.0)
            moved = mean + shift * (size / after), jnp.maximum(variance + change, 0.0)
            return moved[0].astype(mean.dtype), moved[1].astype(mean.dtype)

        merged = jax.tree.map(merge, self.mean, self.variance, batch)
        mean, variance = jax.tree.transpose(jax.tree.structure(self.mean), jax.tree.structure((0, 0)), merged)
        return RunningStatistics(count, mean, variance)

    def deviation(self, *, epsilon: float = 1e-8) -> PyTree:
        """Give standard deviations to divide by: one where nothing has varied so far.

        Args:
            epsilon: Variances up to this are none.
        """
        return jax.tree.map(lambda v: jnp.where(v > epsilon, jnp.sqrt(jnp.maximum(v, epsilon)), 1.0), self.variance)
