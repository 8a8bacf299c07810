"""Gated DeltaNet: a decaying matrix memory that replaces what a key stood for."""

import dataclasses
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from memorax.core.types import Array, Key
from memorax.kernels.convolution import causal_convolution
from memorax.kernels.delta_rule import DeltaSteps, delta_rule
from memorax.networks import initializers
from memorax.networks.checks import check_size
from memorax.networks.sequence_models.cell import ConfiguredModule, wide
from memorax.networks.sequence_models.memoroid import Memoroid


@dataclasses.dataclass(frozen=True)
class GatedDeltaNetConfig:
    """Sizes of Gated DeltaNet."""

    features: int = 64
    """Width of the output."""
    num_heads: int = 4
    """Number of heads, each with a matrix of its own."""
    head_dim: int = 16
    """Width of a head's keys."""
    value_dim: int = 16
    """Width of a head's values; the authors' language models have twice that of the keys."""
    conv_kernel_size: int = 4
    """Steps that the convolution in front of queries, keys and values sees."""
    negative_eigenvalues: bool = False
    """Whether writing may overshoot (β up to 2), so that a value can change its sign: parity needs that."""
    eps: float = 1e-6
    """Added to mean squares and to the squared length of keys, above 0."""
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
        for name in ("features", "num_heads", "head_dim", "value_dim", "conv_kernel_size"):
            check_size(name, getattr(self, name))
        if not self.eps > 0:
            raise ValueError(f"`eps` must be above 0, got {self.eps}")
        if self.chunk_size is not None:
            check_size("chunk_size", self.chunk_size)


class GatedDeltaNetCarry(NamedTuple):
    """What Gated DeltaNet remembers.

    Attributes:
        state: `[batch, num_heads, head_dim, value_dim]`.
        tail: The last inputs of the convolution, `[batch, conv_kernel_size - 1, channels]`.
    """

    state: Array
    tail: Array


class GatedDeltaNetCell(ConfiguredModule):
    """The delta rule with a decay for each head.

    `[q, k, v] = silu(conv(W u))`, with `q` and `k` of length 1 and `q` divided by `sqrt(head_dim)`; for each head
    `S ← α_t S_{t-1}`, `S_t = S + β_t k_t (v_t - Sᵀ k_t)ᵀ`, `o_t = S_tᵀ q_t`, with
    `α = exp(-A softplus(W_a u + b))` and `β = σ(W_b u)`, or `2 σ(W_b u)` with negative eigenvalues; then
    `y = W_out (w * rms(o) * silu(W_g u))`, normalized in each head. `A` starts uniform in [0, 16], `softplus(b)`
    log-uniform in [0.001, 0.1]. The convolution has no bias.

    As in the authors' code; inner widths are free.

    Source:
        Yang et al. 2024, https://arxiv.org/abs/2412.06464; negative eigenvalues: Grazzi et al. 2024,
        https://arxiv.org/abs/2411.12537.
    """

    config: GatedDeltaNetConfig = GatedDeltaNetConfig()

    @nn.nowrap
    def initialize_carry(self, key: Key, input_shape: tuple[int, ...]) -> GatedDeltaNetCarry:
        """Give zeros; `input_shape` is `(batch, features)`."""
        del key
        config, batch = self.config, input_shape[0]
        channels = config.num_heads * (2 * config.head_dim + config.value_dim)
        return GatedDeltaNetCarry(
            jnp.zeros((batch, config.num_heads, config.head_dim, config.value_dim)),
            jnp.zeros((batch, config.conv_kernel_size - 1, channels)),
        )

    @nn.compact
    def __call__(self, carry: GatedDeltaNetCarry, inputs: Array, done: Array) -> tuple[GatedDeltaNetCarry, Array]:
        """Compute a sequence, see `Memoroid`."""
        config, dtype = self.config, self.config.dtype or inputs.dtype
        heads, keys, values = config.num_heads, config.num_heads * config.head_dim, config.num_heads * config.value_dim
        u = inputs.astype(dtype)
        mixed = nn.Dense(2 * keys + values, use_bias=False, dtype=dtype, name="qkv")(u)
        taps = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")  # of width 1 / sqrt(steps)
        kernel = self.param("conv_kernel", taps, (config.conv_kernel_size, mixed.shape[-1])).astype(dtype)
        tail, mixed = causal_convolution(mixed, kernel, done, carry.tail)
        mixed = wide(nn.silu(mixed)).reshape(*u.shape[:2], -1)
        query, key, value = (
            part.reshape(*u.shape[:2], heads, -1) for part in jnp.split(mixed, [keys, 2 * keys], axis=-1)
        )
        query, key = _direction(query, config.eps) * config.head_dim**-0.5, _direction(key, config.eps)

        beta = nn.sigmoid(wide(nn.Dense(heads, use_bias=False, dtype=dtype, name="beta")(u)))
        beta = 2 * beta if config.negative_eigenvalues else beta
        delta = wide(nn.Dense(heads, use_bias=False, dtype=dtype, name="decay")(u))
        delta = nn.softplus(delta + self.param("dt_bias", initializers.step_size_bias, (heads,)))
        log_decay = -delta * jnp.exp(self.param("A_log", initializers.log_of_uniform(1e-3, 16.0), (heads,)))
        steps = DeltaSteps(query, key, value, beta, log_decay)
        state, outputs = delta_rule(steps, done, carry.state, chunk=config.chunk_size)

        outputs = nn.RMSNorm(epsilon=config.eps, name="norm")(outputs).reshape(*u.shape[:2], values)
        gate = nn.Dense(values, use_bias=False, dtype=dtype, name="gate")(u)
        outputs = (outputs * nn.silu(wide(gate))).astype(dtype)
        out = nn.Dense(config.features, use_bias=False, dtype=dtype, name="out")
        return GatedDeltaNetCarry(state, tail), out(outputs)


def _direction(x: Array, eps: float) -> Array:
    return x * jax.lax.rsqrt(jnp.sum(jnp.square(x), axis=-1, keepdims=True) + eps)


def GatedDeltaNet(hidden_dim: int = 64, **options: Any) -> Memoroid:  # noqa: N802
    """Gated DeltaNet.

    Args:
        hidden_dim: Width of the output.
        **options: Further fields of `GatedDeltaNetConfig`.

    Returns:
        A sequence model.

    Source:
        Yang et al. 2024, https://arxiv.org/abs/2412.06464.
    """
    return Memoroid(cell=GatedDeltaNetCell(GatedDeltaNetConfig(features=hidden_dim, **options)))
