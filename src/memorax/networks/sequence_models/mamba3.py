"""Mamba-3: a selective state space model with complex states and the exponential-trapezoidal rule."""

import dataclasses
import math
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp

from memorax.core.checks import check_fields, divides, floating, optional, real, size
from memorax.core.types import Array, Key
from memorax.kernels.linear_attention import LinearSteps, linear_attention
from memorax.networks import initializers
from memorax.networks.sequence_models.parts.cell import ConfiguredModule, configured_by, wide
from memorax.networks.sequence_models.parts.memoroid import Memoroid
from memorax.networks.sequence_models.parts.synonyms import torso_of


@dataclasses.dataclass(frozen=True)
class Mamba3Config:
    """Hyper-parameters of a Mamba-3 layer."""

    features: int = 64
    """Width of the output."""
    num_heads: int = 4
    """Number of heads, each with its own decay."""
    head_dim: int = 16
    """Channels of a head."""
    state_dim: int = 16
    """Real states of a channel; a pair of them is a complex state."""
    num_groups: int = 1
    """How many sets of `B` and `C` the heads share before their biases; a divisor of `num_heads`."""
    rope_fraction: float = 0.5
    """Fraction of the states that rotate, in [0, 1]; the authors use 0.5 or 1. With 0 all states are real."""
    decay_floor: float = 1e-4
    """Lower bound of the decay rates `A`, at least 0."""
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
            state_dim=size(),
            num_groups=size(),
            rope_fraction=real(0, 1),
            decay_floor=real(0),
            chunk_size=optional(size()),
            dtype=optional(floating()),
        )
        divides(("num_groups", self.num_groups), ("num_heads", self.num_heads), "heads that share `B` and `C`")


class Mamba3Carry(NamedTuple):
    """The carry of Mamba-3.

    Attributes:
        state: `h`, `[batch, num_heads, state_dim, head_dim]`.
        key: `B` of the last step, `[batch, num_heads, state_dim]`.
        value: `x` of the last step, `[batch, num_heads, head_dim]`.
    """

    state: Array
    key: Array
    value: Array


class Mamba3Cell(ConfiguredModule):
    """A Mamba-3 layer with a single input and output per state (SISO).

    `[z, x, B, C, Δ, A, λ, θ] = W_in u`; `Δ = softplus(Δ + b)`, `A = max(g(A), decay_floor)` with `g(a) = 1 + a` for
    `a >= 0` and `1 / (1 - a)` below, `λ = σ(λ)`; `B` and
    `C` are brought to root mean square 1, scaled, and get a bias for each head and state, 1 at first. Then for each
    head, with `α_t = exp(-Δ_t A_t)` and `R_t` rotating pairs of states by `-π tanh(θ_t) Δ_t`,

        h_t = α_t R_t h_{t-1} + (1 - λ_t) Δ_t α_t R_t B_{t-1} x_{t-1}ᵀ + λ_t Δ_t B_t x_tᵀ,   y_t = h_tᵀ C_t + D x_t,

    and the output is `W_out (y * silu(z))`. This is the exponential-trapezoidal rule: `λ = 1` is Mamba-2's update. The
    rotation is that of complex eigenvalues on pairs of real states. There is no convolution. `Δ` is initially
    log-uniform in [0.001, 0.1]; heads share their angles up to `Δ`.

    Differs from the authors' code: the state rotates, where theirs rotates `B` and `C` by angles summed since the
    beginning, with the same result; state `i` is paired with `pairs + i`, where theirs pairs neighbours. `g`, which
    falls to 0 more slowly than a softplus, is the activation of their code since June 2026. Left out: several inputs
    and outputs per state (MIMO), and the optional norm before `W_out`.

    Attributes:
        config: The hyper-parameters. The constructor takes them whole, or by field: see `Mamba3Config`.

    Source:
        Lahoti et al. 2026, "Mamba-3: Improved Sequence Modeling using State Space Principles",
        https://arxiv.org/abs/2603.15569
    """

    config: Mamba3Config = Mamba3Config()

    @configured_by(Mamba3Config)
    def __init__(self) -> None: ...

    @nn.nowrap
    def initialize_carry(self, key: Key, input_shape: tuple[int, ...]) -> Mamba3Carry:
        """Give zeros; `input_shape` is `(batch, features)`."""
        del key
        batch, heads, states, width = input_shape[0], self.config.num_heads, self.config.state_dim, self.config.head_dim
        return Mamba3Carry(
            jnp.zeros((batch, heads, states, width)),
            jnp.zeros((batch, heads, states)),
            jnp.zeros((batch, heads, width)),
        )

    @nn.compact
    def __call__(self, carry: Mamba3Carry, inputs: Array, done: Array) -> tuple[Mamba3Carry, Array]:
        """Compute a sequence, see `Memoroid`."""
        config, dtype = self.config, self.config.dtype or inputs.dtype
        heads, inner, shared = (
            config.num_heads,
            config.num_heads * config.head_dim,
            config.num_groups * config.state_dim,
        )
        pairs, u = int(config.rope_fraction * config.state_dim) // 2, inputs.astype(dtype)
        widths = [inner, inner, shared, shared, heads, heads, heads, pairs]
        projected = nn.Dense(sum(widths), use_bias=False, dtype=dtype, name="in_proj")(u)
        borders = [sum(widths[: index + 1]) for index in range(len(widths) - 1)]
        z, x, b, c, delta, rate, trapezoid, angles = jnp.split(projected, borders, axis=-1)
        x = wide(x).reshape(*u.shape[:2], heads, config.head_dim)
        b, c = self._normalize("B", b), self._normalize("C", c)

        delta = nn.softplus(wide(delta) + self.param("dt_bias", initializers.step_size_bias, (heads,))[None, None])
        log_decay = -delta * jnp.maximum(_heavy_tail(wide(rate)), config.decay_floor)
        trapezoid = nn.sigmoid(wide(trapezoid))
        own, before = trapezoid * delta, (1 - trapezoid) * delta
        turns = -math.pi * jnp.tanh(wide(angles))[:, :, None] * delta[..., None] if pairs else None

        # What step t adds of step t - 1 is a second part of the write of step t - 1, from then on.
        state = carry.state + before[:, 0, :, None, None] * carry.key[..., None] * carry.value[..., None, :]
        joined = ~done[:, 1:, None] & jnp.isfinite(before[:, 1:])  # if not finite, step t is lost, not t - 1
        write = own + jnp.pad(jnp.where(joined, before[:, 1:], 0), ((0, 0), (0, 1), (0, 0)))
        steps = LinearSteps(c, b, x, log_decay, turns, own, write)
        state, y = linear_attention(steps, done, state, chunk=config.chunk_size)

        y += self.param("D", nn.initializers.ones, (heads,))[None, None, :, None] * x
        y = (y.reshape(*u.shape[:2], inner) * nn.silu(wide(z))).astype(dtype)
        outputs = nn.Dense(config.features, use_bias=False, dtype=dtype, name="out_proj")(y)
        kept = (part[:, -1].astype(old.dtype) for part, old in ((b, carry.key), (x, carry.value)))
        return Mamba3Carry(state, *kept), outputs

    def _normalize(self, name: str, x: Array) -> Array:
        """Normalize groups, and shift them for their heads, `[batch, time, num_heads, state_dim]`."""
        groups, heads = self.config.num_groups, self.config.num_heads
        x = wide(x).reshape(*x.shape[:2], groups, self.config.state_dim)
        x = nn.RMSNorm(epsilon=1e-5, name=f"{name}_norm")(x)
        bias = self.param(f"{name}_bias", nn.initializers.ones, (heads, self.config.state_dim))
        return jnp.repeat(x, heads // groups, axis=2) + bias[None, None]


def _heavy_tail(x: Array) -> Array:
    """A positive activation whose lower tail falls as `1 / |x|`: `1 + x` from 0 on, `1 / (1 - x)` below."""
    return jnp.maximum(x, 0) + 1 / (1 - jnp.minimum(x, 0))


Mamba3 = torso_of(Mamba3Config, Mamba3Cell, Memoroid, "A Mamba-3 layer (SISO)")
