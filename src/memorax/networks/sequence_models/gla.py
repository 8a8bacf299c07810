"""Gated linear attention: a matrix memory whose rows decay each at its own rate."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from memorax.core.checks import check_fields, floating, optional, real, size
from memorax.core.types import Array, Key
from memorax.kernels.vector_gates import GatedSteps, gated_memory
from memorax.networks.sequence_models.parts.cell import ConfiguredModule, configured_by, wide
from memorax.networks.sequence_models.parts.memoroid import Memoroid
from memorax.networks.sequence_models.parts.synonyms import torso_of


@dataclasses.dataclass(frozen=True)
class GLAConfig:
    """Hyper-parameters of gated linear attention."""

    features: int = 64
    """Width of the output."""
    num_heads: int = 4
    """Number of heads, each with a matrix as its state."""
    head_dim: int = 16
    """Width of a head's queries and keys; the authors' models have half of that of the values."""
    value_dim: int = 16
    """Width of a head's values."""
    gate_rank: int = 16
    """Rank of the map to the decays."""
    gate_normalizer: float = 16.0
    """The logarithm of a decay is that of a sigmoid, divided by this number: the larger, the slower the decays."""
    eps: float = 1e-5
    """Added to the mean squares of the norm, above 0."""
    chunk_size: int | None = None
    """Steps computed at once; None: 16."""
    dtype: Any = None
    """Type of activations and projections; None: that of the inputs. The recurrence is kept in float32 at least."""

    def __post_init__(self) -> None:
        """Check the fields.

        Raises:
            TypeError: If a size is not an integer.
            ValueError: If a field is out of range.
        """
        sizes = ("features", "num_heads", "head_dim", "value_dim", "gate_rank")
        check_fields(self, **dict.fromkeys(sizes, size()), chunk_size=optional(size()), dtype=optional(floating()))
        check_fields(self, gate_normalizer=real(above=0), eps=real(above=0))


class GLACell(ConfiguredModule):
    """Gated linear attention: linear attention with a decay for each dimension of the keys.

    For each head `S_t = Diag(α_t) S_{t-1} + k_t v_tᵀ` and `o_t = S_tᵀ q_t / sqrt(head_dim)`, with `q, k, v = W u` and
    `α = σ(W_2 W_1 u + b)^(1 / gate_normalizer)`; then `y = W_out (w * rms(o) * silu(W_g u))`, normalized in each head.

    As in the authors' code, except that the inner widths are free, and that projections have Flax's initialization.

    Attributes:
        config: The hyper-parameters. The constructor takes them whole, or by field: see `GLAConfig`.

    Source:
        Yang et al. 2023, "Gated Linear Attention Transformers with Hardware-Efficient Training",
        https://arxiv.org/abs/2312.06635
    """

    config: GLAConfig = GLAConfig()

    @configured_by(GLAConfig)
    def __init__(self) -> None: ...

    @nn.nowrap
    def initialize_carry(self, key: Key, input_shape: tuple[int, ...]) -> Array:
        """Give zeros; `input_shape` is `(batch, features)`."""
        del key
        config = self.config
        return jnp.zeros((input_shape[0], config.num_heads, config.head_dim, config.value_dim))

    @nn.compact
    def __call__(self, carry: Array, inputs: Array, done: Array) -> tuple[Array, Array]:
        """Compute a sequence, see `Memoroid`."""
        config, heads, dtype = self.config, self.config.num_heads, self.config.dtype or inputs.dtype
        u = inputs.astype(dtype)

        def project(name: str, width: int) -> Array:
            return nn.Dense(heads * width, use_bias=False, dtype=dtype, name=name)(u)

        def split(x: Array) -> Array:
            return wide(x).reshape(*u.shape[:2], heads, -1)

        query, key = (split(project(name, config.head_dim)) for name in ("query", "key"))
        low = nn.Dense(config.gate_rank, use_bias=False, dtype=dtype, name="decay_in")(u)
        decay = nn.Dense(heads * config.head_dim, dtype=dtype, name="decay_out")(low)
        log_decay = jax.nn.log_sigmoid(split(decay)) / config.gate_normalizer
        value = split(project("value", config.value_dim))
        steps = GatedSteps(query * config.head_dim**-0.5, key, value, log_decay)
        state, outputs = gated_memory(steps, done, carry, chunk=config.chunk_size)
        outputs = nn.RMSNorm(epsilon=config.eps, name="norm")(outputs).reshape(*u.shape[:2], -1)
        outputs = (outputs * nn.silu(wide(project("gate", config.value_dim)))).astype(dtype)
        return state, nn.Dense(config.features, use_bias=False, dtype=dtype, name="out")(outputs)


GLA = torso_of(GLAConfig, GLACell, Memoroid, "Gated linear attention")
