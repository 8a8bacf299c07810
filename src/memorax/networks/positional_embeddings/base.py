"""The base of positional embeddings: none."""

import flax.linen as nn

from memorax.core.types import Array
from memorax.kernels.attention import Positions


class PositionalEmbedding(nn.Module):
    """No positional embedding: attention over a set."""

    def embed(self, inputs: Array, steps: Array) -> Array:
        """Add positions to the inputs.

        Args:
            inputs: `[batch, time, features]`.
            steps: Steps since the episode's start, `[batch, time]`.

        Returns:
            `[batch, time, features]`.
        """
        del steps
        return inputs

    @nn.nowrap
    def keys(self, dim: int) -> Positions:
        """Give what the attention kernel needs to place keys of width `dim` without queries."""
        del dim
        return Positions()

    def __call__(self, queries: Array, window: int) -> tuple[Array, Positions]:
        """Prepare queries and what scores depend on beside them.

        Args:
            queries: `[batch, time, heads, dim]`.
            window: Number of steps that are attended to.

        Returns:
            The queries `[batch, time, heads, dim]`, and what the kernel needs.
        """
        del window
        return queries, self.keys(queries.shape[-1])
