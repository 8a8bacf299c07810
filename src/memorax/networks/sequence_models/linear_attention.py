"""Linear attention: the softmax is replaced by a product of feature maps."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from memorax.core.checks import check_fields, floating, optional, real, size
from memorax.core.types import Array, Key
from memorax.kernels.linear_attention import LinearSteps, linear_attention
from memorax.networks.sequence_models.parts.cell import ConfiguredModule, configured_by, wide
from memorax.networks.sequence_models.parts.memoroid import Memoroid
from memorax.networks.sequence_models.parts.synonyms import torso_of


@dataclasses.dataclass(frozen=True)
class LinearAttentionConfig:
    """Hyper-parameters of linear attention."""

    features: int = 64
    """Width of the output."""
    num_heads: int = 4
    """Number of heads, each with a matrix as its state."""
    head_dim: int = 16
    """Width of a head's keys and values."""
    eps: float = 1e-6
    """Added to the normalizer, at least 0."""
    chunk_size: int | None = None
    """Steps computed at once; None chooses by platform."""
    dtype: Any = None
    """Type of activations and projections; None: that of the inputs. The recurrence is kept in float32 at least."""

    def __post_init__(self) -> None:
        """Check the fields.

        Raises:
            TypeError: If a size is not an integer.
            ValueError: If a field is out of range.
        """
        check_fields(
            self,
            features=size(),
            num_heads=size(),
            head_dim=size(),
            eps=real(0),
            chunk_size=optional(size()),
            dtype=optional(floating()),
        )


class LinearAttentionCell(ConfiguredModule):
    """Linear attention: causal attention without softmax, whose state is a sum over the episode.

    `S_t = S_{t-1} + φ(k_t) v_tᵀ`, `z_t = z_{t-1} + φ(k_t)`, `o_t = S_tᵀ φ(q_t) / (z_tᵀ φ(q_t) + ε)` for each head, with
    `φ(x) = elu(x) + 1`, and `y = W [o_1 ... o_heads]`. `z` is one more column of `S`: the values carry a one. The carry
    is `[batch, num_heads, head_dim, head_dim + 1]`. As in the paper, except that projections have no biases.

    Attributes:
        config: The hyper-parameters. The constructor takes them whole, or by field: see `LinearAttentionConfig`.

    Source:
        Katharopoulos et al. 2020, "Transformers are RNNs: Fast Autoregressive Transformers with Linear Attention",
        https://arxiv.org/abs/2006.16236
    """

    config: LinearAttentionConfig = LinearAttentionConfig()

    @configured_by(LinearAttentionConfig)
    def __init__(self) -> None: ...

    @nn.nowrap
    def initialize_carry(self, key: Key, input_shape: tuple[int, ...]) -> Array:
        """Give zeros; `input_shape` is `(batch, features)`."""
        del key
        width = self.config.head_dim
        return jnp.zeros((input_shape[0], self.config.num_heads, width, width + 1))

    @nn.compact
    def __call__(self, carry: Array, inputs: Array, done: Array) -> tuple[Array, Array]:
        """Compute a sequence, see `Memoroid`."""
        config, dtype = self.config, self.config.dtype or inputs.dtype
        x = inputs.astype(dtype)
        shape = (*x.shape[:2], config.num_heads, config.head_dim)
        query, key, value = (
            nn.Dense(shape[2] * shape[3], use_bias=False, dtype=dtype, name=name)(x).reshape(shape)
            for name in ("query", "key", "value")
        )
        query, key = (jax.nn.elu(wide(part)) + 1 for part in (query, key))
        value = wide(value)
        value = jnp.concatenate([value, jnp.ones_like(value[..., :1])], axis=-1)
        carry, sums = linear_attention(LinearSteps(query, key, value), done, carry, chunk=config.chunk_size)
        outputs = sums[..., :-1] / (sums[..., -1:] + config.eps)
        outputs = outputs.reshape(*x.shape[:2], -1).astype(dtype)
        return carry, nn.Dense(config.features, use_bias=False, dtype=dtype, name="out")(outputs)


LinearAttention = torso_of(LinearAttentionConfig, LinearAttentionCell, Memoroid, "Linear attention")
