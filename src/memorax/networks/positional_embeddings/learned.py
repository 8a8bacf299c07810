"""Learned absolute positions."""

import flax.linen as nn
import jax.numpy as jnp

from memorax.core.checks import check_fields, size
from memorax.core.types import Array
from memorax.networks.positional_embeddings.base import PositionalEmbedding


class LearnedPositionalEmbedding(PositionalEmbedding):
    """Learned absolute positions: a vector for each step since the episode's start is added to the inputs.

    Attributes:
        num_embeddings: Number of vectors; later steps share the last one.

    Source:
        Radford et al. 2018, "Improving Language Understanding by Generative Pre-Training",
        https://cdn.openai.com/research-covers/language-unsupervised/language_understanding_paper.pdf
    """

    num_embeddings: int = 1024

    def __post_init__(self) -> None:
        """Check the number.

        Raises:
            TypeError: If `num_embeddings` is not an integer.
            ValueError: If `num_embeddings` is below 1.
        """
        check_fields(self, num_embeddings=size())
        super().__post_init__()

    @nn.compact
    def embed(self, inputs: Array, steps: Array) -> Array:
        """Add the vectors of `steps` `[batch, time]` to `inputs` `[batch, time, features]`."""
        table = self.param("table", nn.initializers.normal(0.02), (self.num_embeddings, inputs.shape[-1]), jnp.float32)
        steps = jnp.clip(steps, 0, self.num_embeddings - 1)
        return inputs + table.astype(inputs.dtype)[steps]
