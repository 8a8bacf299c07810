"""Running mean and variance, updated batch by batch."""

import jax
import jax.numpy as jnp
from flax import struct

from memorax.core.types import Array, PyTree


@struct.dataclass
class RunningStatistics:
    """Running mean and sample variance of all samples so far, starting from zero samples.

    Attributes:
        count: Number of samples, uint32 `[]`; it stays at its largest value rather than wrap to zero.
        mean: Mean of the samples, elementwise: a pytree like one sample, in float32 where samples are less precise.
        variance: Sample variance, the sum of squared deviations divided by `count - 1`; zero before the second sample.
    """

    count: Array
    mean: PyTree
    variance: PyTree

    @classmethod
    def start(cls, like: PyTree) -> "RunningStatistics":
        """Make the statistics of no samples.

        Args:
            like: A sample, or its shapes and dtypes.

        Returns:
            Statistics with a count of zero.
        """
        zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, jnp.promote_types(x.dtype, jnp.float32)), like)
        return cls(jnp.zeros((), jnp.uint32), zeros, zeros)

    def update(self, batch: PyTree) -> "RunningStatistics":
        """Add a batch of samples.

        The update moves mean and variance towards those of the batch, by steps that shrink as the count grows, instead
        of accumulating sums, which would lose precision.

        Args:
            batch: Samples, `[batch, ...]`.

        Returns:
            The statistics of all samples so far; how they were batched makes no difference, up to rounding.

        Source:
            Chan, Golub and LeVeque 1983, "Algorithms for Computing the Sample Variance".
        """
        size = jax.tree.leaves(batch)[0].shape[0]
        count = self.count + jnp.uint32(size)
        count = jnp.where(count < self.count, jnp.uint32(2**32 - 1), count)
        before, after = self.count.astype(jnp.float32), count.astype(jnp.float32)

        def merge(mean: Array, variance: Array, x: Array) -> tuple[Array, Array]:
            x = x.astype(mean.dtype)
            center = jnp.mean(x, axis=0)
            shift = center - mean
            squares = jnp.sum(jnp.square(x - center[None]), axis=0) + jnp.square(shift) * before * (size / after)
            change = (squares - size * variance) / jnp.maximum(after - 1.0, 1.0)
            moved = mean + shift * (size / after), jnp.maximum(variance + change, 0.0)
            return moved[0].astype(mean.dtype), moved[1].astype(mean.dtype)

        merged = jax.tree.map(merge, self.mean, self.variance, batch)
        mean, variance = jax.tree.transpose(jax.tree.structure(self.mean), jax.tree.structure((0, 0)), merged)
        return RunningStatistics(count, mean, variance)

    def deviation(self, *, epsilon: float = 1e-8) -> PyTree:
        """Compute standard deviations to divide by: one where the samples have not varied so far.

        Args:
            epsilon: Variances up to this count as zero.

        Returns:
            Standard deviations, a pytree like one sample.
        """
        return jax.tree.map(lambda v: jnp.where(v > epsilon, jnp.sqrt(jnp.maximum(v, epsilon)), 1.0), self.variance)
