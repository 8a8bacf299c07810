"""RWKV-7: a matrix memory with vector-valued decays, and separate keys for erasing and for writing."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from memorax.core.broadcasting import with_rank
from memorax.core.checks import check_fields, floating, optional, real, size
from memorax.core.types import Array, Key
from memorax.kernels.convolution import causal_convolution
from memorax.kernels.vector_gates import GatedSteps, gated_memory
from memorax.networks.sequence_models.parts.cell import ConfiguredModule, configured_by, wide
from memorax.networks.sequence_models.parts.delta import direction, run_updates
from memorax.networks.sequence_models.parts.memoroid import Memoroid
from memorax.networks.sequence_models.parts.synonyms import torso_of

_MIXES = {"receive": 0.2, "decay": 0.9, "key": 0.7, "value": 0.7, "rate": 0.9, "gate": 0.2}
"""Exponents of the initial shares of the step before."""
_FASTEST = float(np.exp(-0.5))
"""Bound of the decays' negative logarithms: a step keeps at least 0.545."""


@dataclasses.dataclass(frozen=True)
class RWKV7Config:
    """Hyper-parameters of RWKV-7."""

    features: int = 64
    """Width of the output, and of what is mixed with the step before."""
    num_heads: int = 4
    """Number of heads, each with a matrix as its state."""
    head_dim: int = 16
    """Width of the keys and values of a head."""
    gate_rank: int | None = None
    """Rank of the maps to decays, rates and output gates; None: `head_dim`."""
    eps: float = 64e-5
    """Added to the variance of each head's outputs, above 0."""
    chunk_size: int | None = None
    """Updates computed at once, of which a step has two; None chooses."""
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
            gate_rank=optional(size()),
            eps=real(above=0),
            chunk_size=optional(size()),
            dtype=optional(floating()),
        )


class RWKV7Carry(NamedTuple):
    """The carry of RWKV-7.

    Attributes:
        state: `[batch, num_heads, head_dim, head_dim]`.
        last: What is mixed with the next step, `[batch, 1, features]`.
    """

    state: Array
    last: Array


class RWKV7Cell(ConfiguredModule):
    """RWKV-7: the time mixing of a layer, a matrix memory that erases by one key and writes by another.

    `x = W_in u`; each projection sees `x_t + μ * (x_{t-1} - x_t)` with a `μ` of its own, zero before the episode. With
    `r`, `k`, `v` linear, `a = σ(a_0 + A_2 A_1 x)`, `w = exp(-e^{-1/2} σ(w_0 + W_2 tanh(W_1 x)))`, the direction `κ` of
    `ξ * k` and `k ← k * (1 + (a - 1) * α)`, for each head
    `S_t = (Diag(w_t) - (a_t * κ_t) κ_tᵀ) S_{t-1} + k_t v_tᵀ`, `o_t = S_tᵀ r_t`, and
    `y = W_out ((norm(o) + (r · (ρ * k)) v) * G_2 σ(G_1 x))` with a layer norm in each head.

    It is two updates of the kernel of KDA: decay and erase, then write. Initialized as the authors' first layer, except
    that projections have Flax's initialization. Differs from their code: the projection in front, free inner widths, no
    mixing with the values of the first layer, and no channel mixing, which is a feed-forward block.

    Attributes:
        config: The hyper-parameters. The constructor takes them whole, or by field: see `RWKV7Config`.

    Source:
        Peng et al. 2025, "RWKV-7 'Goose' with Expressive Dynamic State Evolution", https://arxiv.org/abs/2503.14456
    """

    config: RWKV7Config = RWKV7Config()

    @configured_by(RWKV7Config)
    def __init__(self) -> None: ...

    @nn.nowrap
    def initialize_carry(self, key: Key, input_shape: tuple[int, ...]) -> RWKV7Carry:
        """Give zeros; `input_shape` is `(batch, features)`."""
        del key
        config, batch = self.config, input_shape[0]
        state = jnp.zeros((batch, config.num_heads, config.head_dim, config.head_dim))
        return RWKV7Carry(state, jnp.zeros((batch, 1, config.features)))

    @nn.compact
    def __call__(self, carry: RWKV7Carry, inputs: Array, done: Array) -> tuple[RWKV7Carry, Array]:
        """Compute a sequence, see `Memoroid`."""
        config, dtype = self.config, self.config.dtype or inputs.dtype
        x = nn.Dense(config.features, use_bias=False, dtype=dtype, name="in")(inputs.astype(dtype))
        last, before = causal_convolution(x, jnp.asarray([[1], [0]], dtype), done, carry.last)
        mixed = {
            name: x + self._vector(f"mix_{name}", _share(_MIXES[name])).astype(dtype) * (before - x) for name in _MIXES
        }

        receive, key, value = (self._project(name, mixed[name]) for name in ("receive", "key", "value"))
        rate = nn.sigmoid(self._low_rank("rate", mixed["rate"], nn.initializers.zeros))
        log_decay = -_FASTEST * nn.sigmoid(self._low_rank("decay", mixed["decay"], _slow_to_fast, nn.tanh))
        erase = direction(key * self._matrix("key_scale", nn.initializers.constant(0.85)), 1e-12)
        key *= 1 + (rate - 1) * self._matrix("rate_scale", nn.initializers.ones)

        # What is erased is read before the decay in the equation, and after it in the kernel.
        zero = jnp.zeros_like(key)
        first = GatedSteps(zero, rate * erase, zero, log_decay, erase * jnp.exp(-log_decay))
        second = GatedSteps(receive, key, value, zero, zero)
        steps = jax.tree.map(lambda *updates: jnp.stack(updates, axis=2), first, second)
        state, read = run_updates(gated_memory, steps, done, carry.state, config.chunk_size)

        read = nn.LayerNorm(epsilon=config.eps, use_scale=False, use_bias=False, name="norm")(read)
        read *= self._matrix("norm_scale", nn.initializers.ones)
        read += self._matrix("norm_bias", nn.initializers.zeros)
        bonus = receive * key * self._matrix("bonus", nn.initializers.zeros)
        read += jnp.sum(bonus, axis=-1, keepdims=True) * value
        read *= self._low_rank("gate", mixed["gate"], None, nn.sigmoid)
        outputs = read.reshape(*x.shape[:2], -1).astype(dtype)
        return RWKV7Carry(state, last), nn.Dense(config.features, use_bias=False, dtype=dtype, name="out")(outputs)

    def _vector(self, name: str, init: Callable[..., Array]) -> Array:
        return self.param(name, init, (self.config.features,))[None, None]

    def _matrix(self, name: str, init: Callable[..., Array]) -> Array:
        return with_rank(self.param(name, init, (self.config.num_heads, self.config.head_dim)), 4)

    def _project(self, name: str, x: Array) -> Array:
        config = self.config
        heads = nn.Dense(config.num_heads * config.head_dim, use_bias=False, dtype=x.dtype, name=name)(x)
        return wide(heads).reshape(*x.shape[:2], config.num_heads, config.head_dim)

    def _low_rank(
        self, name: str, x: Array, bias: Callable[..., Array] | None, inside: Callable[[Array], Array] = lambda x: x
    ) -> Array:
        """A map of low rank to all heads, `[batch, time, num_heads, head_dim]`; `bias` initializes a bias, if any."""
        config = self.config
        low = nn.Dense(config.gate_rank or config.head_dim, use_bias=False, dtype=x.dtype, name=f"{name}_in")(x)
        full = nn.Dense(config.num_heads * config.head_dim, use_bias=False, dtype=x.dtype, name=f"{name}_out")(
            inside(low)
        )
        full = wide(full).reshape(*x.shape[:2], config.num_heads, config.head_dim)
        return full if bias is None else full + self._matrix(f"{name}_bias", bias)


def _share(exponent: float) -> Callable[..., Array]:
    """Shares of the step before, from 1 for the first feature towards 0 for the last."""
    return lambda _, shape, dtype=jnp.float32: 1 - (jnp.arange(shape[0], dtype=dtype) / shape[0]) ** exponent


def _slow_to_fast(_: Key, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
    return jnp.linspace(-5.5, 0.5, int(np.prod(shape)), dtype=dtype).reshape(shape)


RWKV7 = torso_of(RWKV7Config, RWKV7Cell, Memoroid, "The time mixing of RWKV-7")
