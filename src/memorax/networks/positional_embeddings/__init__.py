"""Positional embeddings of attention. `POSITIONAL_EMBEDDINGS` has them by name."""

from memorax.networks.positional_embeddings.alibi import ALiBi
from memorax.networks.positional_embeddings.base import PositionalEmbedding
from memorax.networks.positional_embeddings.learned import LearnedPositionalEmbedding
from memorax.networks.positional_embeddings.relative import RelativePositionalEmbedding
from memorax.networks.positional_embeddings.rope import RoPE

POSITIONAL_EMBEDDINGS: dict[str | None, type[PositionalEmbedding]] = {
    "rope": RoPE,
    "alibi": ALiBi,
    "learned": LearnedPositionalEmbedding,
    "relative": RelativePositionalEmbedding,
    None: PositionalEmbedding,
}
"""By the name that `SelfAttentionConfig.positional_embedding` has for them."""

__all__ = [
    "POSITIONAL_EMBEDDINGS",
    "ALiBi",
    "LearnedPositionalEmbedding",
    "PositionalEmbedding",
    "RelativePositionalEmbedding",
    "RoPE",
]
