"""HGRN2: a gated recurrent network whose state is expanded to a matrix, and whose forget gate is its write gate."""

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
class HGRN2Config:
    """Hyper-parameters of HGRN2."""

    features: int = 64
    """Width of the output."""
    num_heads: int = 4
    """Number of heads, each with a matrix as its state."""
    head_dim: int = 16
    """How many times the state is expanded: the number of forget gates of a head."""
    value_dim: int = 16
    """Width of a head's values."""
    lower_bound: float = 0.0
    """Lower bound of the forget gates, in [0, 1). The paper learns one for each layer, higher in higher layers."""
    eps: float = 1e-5
    """Added to the mean square of the norm, above 0."""
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
        sizes = ("features", "num_heads", "head_dim", "value_dim")
        check_fields(self, **dict.fromkeys(sizes, size()), chunk_size=optional(size()), dtype=optional(floating()))
        check_fields(self, lower_bound=real(0, below=1), eps=real(above=0))


class HGRN2Cell(ConfiguredModule):
    """HGRN2: linear attention in which a key is one minus the decay.

    For each head `S_t = Diag(f_t) S_{t-1} + (1 - f_t) v_tᵀ` and `o_t = S_tᵀ q_t / sqrt(head_dim)`, with
    `q = silu(W_q u)`, `f = b + (1 - b) σ(W_f u)` above the lower bound `b`, and `v = W_v u`; then
    `y = W_out (w * rms(o))`, normalized over all heads together.

    As in the authors' code, except that the inner widths are free, that the lower bound is a constant, and that
    projections have Flax's initialization.

    Attributes:
        config: The hyper-parameters. The constructor takes them whole, or by field: see `HGRN2Config`.

    Source:
        Qin et al. 2024, "HGRN2: Gated Linear RNNs with State Expansion", https://arxiv.org/abs/2404.07904
    """

    config: HGRN2Config = HGRN2Config()

    @configured_by(HGRN2Config)
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
            projected = nn.Dense(heads * width, use_bias=False, dtype=dtype, name=name)(u)
            return wide(projected).reshape(*u.shape[:2], heads, width)

        query, forget = nn.silu(project("query", config.head_dim)), project("forget", config.head_dim)
        value = project("value", config.value_dim)
        bound = config.lower_bound
        log_decay = jax.nn.log_sigmoid(forget)
        if bound > 0:
            log_decay = jnp.log(bound + (1 - bound) * nn.sigmoid(forget))
        key = (1 - bound) * nn.sigmoid(-forget)  # one minus the decay, without its cancellation
        steps = GatedSteps(query * config.head_dim**-0.5, key, value, log_decay)
        state, outputs = gated_memory(steps, done, carry, chunk=config.chunk_size)
        outputs = nn.RMSNorm(epsilon=config.eps, name="norm")(outputs.reshape(*u.shape[:2], -1)).astype(dtype)
        return state, nn.Dense(config.features, use_bias=False, dtype=dtype, name="out")(outputs)


HGRN2 = torso_of(HGRN2Config, HGRN2Cell, Memoroid, "HGRN2")
