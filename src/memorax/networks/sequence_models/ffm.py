"""Fast and forgetful memory."""

import dataclasses
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from memorax.core.checks import check, check_fields, floating, optional, real, size
from memorax.core.types import Array, Key
from memorax.kernels.linear_scan import linear_scan
from memorax.kernels.remat import scan_chunks
from memorax.networks.sequence_models.parts.cell import ConfiguredModule, configured_by, wide
from memorax.networks.sequence_models.parts.memoroid import Memoroid
from memorax.networks.sequence_models.parts.synonyms import torso_of

_CHUNK = 64
"""Steps whose states exist at the same time."""
_FASTEST = math.log(1.7976931348623157e308) / 1024 - 0.02
"""The fastest initial decay of the official code, per step: what double precision can represent over 1024 steps."""


@dataclasses.dataclass(frozen=True)
class FFMConfig:
    """Sizes and initial time scales of fast and forgetful memory (FFM)."""

    features: int = 64
    """Width of the output."""
    memory_size: int = 32
    """Number of traces, each with its own decay."""
    context_size: int = 4
    """Number of frequencies at which each trace is kept."""
    min_period: float = 1.0
    """Shortest initial period, in steps."""
    max_period: float = 1024.0
    """Longest initial period, in steps; in as many steps the slowest trace initially decays to 1 %."""
    dtype: Any = None
    """Type of activations and projections; None: that of the inputs. The memory is kept in float32 at least."""

    def __post_init__(self) -> None:
        """Check the fields.

        Raises:
            TypeError: If a size is not an integer.
            ValueError: If a field is out of range.
        """
        check_fields(
            self,
            features=size(),
            memory_size=size(),
            context_size=size(),
            min_period=real(above=0),
            max_period=real(above=0),
            dtype=optional(floating()),
        )
        check("max_period", self.max_period, real(self.min_period))


class FFMCell(ConfiguredModule):
    """Fast and forgetful memory (FFM): exponentially decaying traces, each at several frequencies.

    `u_t = W_p x_t σ(W_i x_t)`, `S_t = γ S_{t-1} + u_t 1ᵀ` with `γ = exp(α + iω)`, `z_t = W_mix [Re S_t; Im S_t]`,
    `o_t = σ(W_o x_t)`, `y_t = o_t LN(z_t) + (1 - o_t) W_s x_t`. Differs from the official code in that decays are
    applied step by step, without absolute times, so that episodes may have any length; and decay rates are kept
    negative by a minimum of `α` and -1e-8 in the forward pass, with a straight-through gradient,
    where the official code clamps the parameters. The carry is the real and the imaginary part of `S`, each
    `[batch, memory_size, context_size]`; only the states of a chunk of steps exist at the same time.

    Attributes:
        config: The hyper-parameters. The constructor takes them whole, or by field: see `FFMConfig`.

    Source:
        Morad et al. 2023, "Reinforcement Learning with Fast and Forgetful Memory", https://arxiv.org/abs/2310.04128
    """

    config: FFMConfig = FFMConfig()

    @configured_by(FFMConfig)
    def __init__(self) -> None: ...

    @nn.nowrap
    def initialize_carry(self, key: Key, input_shape: tuple[int, ...]) -> tuple[Array, Array]:
        """Give zeros; `input_shape` is `(batch, features)`."""
        del key
        zeros = jnp.zeros((input_shape[0], self.config.memory_size, self.config.context_size))
        return zeros, zeros

    @nn.compact
    def __call__(self, carry: tuple[Array, Array], inputs: Array, done: Array) -> tuple[tuple[Array, Array], Array]:
        """Compute a sequence, see `Memoroid`."""
        config, traces, features = self.config, self.config.memory_size, self.config.features
        dtype = config.dtype or inputs.dtype
        shape = (2 * traces * config.context_size, features)
        init = _uniform(inputs.shape[-1])
        projected = nn.Dense(2 * (traces + features), kernel_init=init, bias_init=init, dtype=dtype, name="input")(
            inputs
        )
        new, through, gates = jnp.split(projected, (traces, traces + features), axis=-1)
        gates = jax.nn.sigmoid(wide(gates))
        alpha, omega = self.param("alpha", self._init_decays), self.param("omega", self._init_frequencies)
        mix, bias = (
            self.param("mix", _uniform(shape[0]), shape),
            self.param("mix_bias", _uniform(shape[0]), (features,)),
        )

        size = jnp.exp(_negative(alpha))[:, None]
        decay = size * jnp.cos(omega)[None], size * jnp.sin(omega)[None]

        def run(carry: tuple[Array, Array], now: tuple[Array, Array]) -> tuple[tuple[Array, Array], Array]:
            new, done = now
            carry, states = linear_scan(decay, (new[..., None], jnp.zeros_like(new[..., None])), done, carry)
            flat = jnp.concatenate([x.reshape(*done.shape, -1) for x in states], axis=-1)
            return carry, flat.astype(dtype) @ mix.astype(dtype) + bias.astype(dtype)[None, None]

        carry, z = scan_chunks(run, carry, (wide(new) * gates[..., :traces], done), _CHUNK)
        out = gates[..., traces:]
        norm = nn.LayerNorm(epsilon=1e-5, use_bias=False, use_scale=False, dtype=out.dtype)
        return carry, (out * norm(z) + (1 - out) * through).astype(dtype)

    @nn.nowrap
    def _init_decays(self, key: Key) -> Array:
        del key
        return jnp.linspace(-_FASTEST, math.log(0.01) / self.config.max_period, self.config.memory_size)

    @nn.nowrap
    def _init_frequencies(self, key: Key) -> Array:
        del key
        return 2 * jnp.pi / jnp.linspace(self.config.min_period, self.config.max_period, self.config.context_size)


def _negative(alpha: Array) -> Array:
    """Clamp below zero with a straight-through gradient, so that a trace at the bound can leave it again."""
    return jax.lax.stop_gradient(jnp.minimum(alpha, -1e-8)) + (alpha - jax.lax.stop_gradient(alpha))


def _uniform(fan_in: int) -> Any:
    def init(key: Key, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
        return jax.random.uniform(key, shape, dtype, -(fan_in**-0.5), fan_in**-0.5)

    return init


FFM = torso_of(FFMConfig, FFMCell, Memoroid, "A fast and forgetful memory")
