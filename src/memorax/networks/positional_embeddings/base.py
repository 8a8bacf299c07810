"""What positional embeddings have in common; alone, none."""

import flax.linen as nn

from memorax.core.types import Array
from memorax.kernels.attention import Positions


class PositionalEmbedding(nn.Module):
    """No position at all: what is seen is a set."""

    def embed(self, inputs: Array, steps: Array) -> Array:
        """Put positions into the inputs.

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
        """Say how the kernel has to hold keys of width `dim`, which is all that concerns keys without queries."""
        del dim
        return Positions()

    def __call__(self, queries: Array, window: int) -> tuple[Array, Positions]:
        """Say how scores know about distances.

        Args:
            queries: `[batch, time, heads, dim]`.
            window: How many steps are seen.

        Returns:
            The queries `[batch, time, heads, dim]`, and what the kernel needs.
        """
        del window
        return queries, self.keys(queries.shape[-1])
