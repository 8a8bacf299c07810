"""DeltaProduct: several steps of the delta rule for each step of time."""

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
class DeltaProductConfig:
    """Sizes of Gated DeltaNet."""

    features: int = 64
    """Width of the output."""
    num_heads: int = 4
    """Number of heads, each with a matrix of its own."""
    head_dim: int = 16
    """Width of a head's keys."""
    value_dim: int = 16
    """Width of a head's values; the authors' language models have twice that of the keys."""
    num_householder: int = 2
    """Steps of the delta rule, each with a key and a value of its own, for one step of time."""
    conv_kernel_size: int = 4
    """Steps that the convolution in front of queries, keys and values sees."""
    negative_eigenvalues: bool = True
    """Whether writing may overshoot (β up to 2): a step of time is a product of reflections then, say a rotation."""
    forget: bool = True
    """Whether the memory decays, once for each step of time."""
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
        for name in ("features", "num_heads", "head_dim", "value_dim", "num_householder", "conv_kernel_size"):
            check_size(name, getattr(self, name))
        if not self.eps > 0:
            raise ValueError(f"`eps` must be above 0, got {self.eps}")
        if self.chunk_size is not None:
            check_size("chunk_size", self.chunk_size)


class DeltaProductCarry(NamedTuple):
    """What Gated DeltaNet remembers.

    Attributes:
        state: `[batch, num_heads, head_dim, value_dim]`.
        tail: The last inputs of the convolution, `[batch, conv_kernel_size - 1, channels]`.
    """

    state: Array
    tail: Array


class DeltaProductCell(ConfiguredModule):
    """Several Householder-like updates of a matrix memory for each step of time.

    `[q, k_1 ... k_n, v_1 ... v_n] = silu(conv(W u))`, with `q` and each `k` of length 1 and `q` divided by
    `sqrt(head_dim)`; for each head `S ← α_t S_{t-1}`, once, then `S ← S + β_j k_j (v_j - Sᵀ k_j)ᵀ` for j from 1 to n,
    and `o_t = Sᵀ q_t`, with `α = exp(-A softplus(W_a u + b))` and `β_j = 2 σ(W_b u)`, or `σ(W_b u)` without negative
    eigenvalues; then `y = W_out (w * rms(o) * silu(W_g u))`, normalized in each head. A step's transition is a product
    of n reflections at most, a rotation among others, where a single delta rule only reflects. Initialized as Gated
    DeltaNet. The convolution has no bias.

    As in the authors' code; inner widths are free. The chunks of the kernel are of `n` times as many updates.

    Source:
        Siems et al. 2025, https://arxiv.org/abs/2502.10297.
    """

    config: DeltaProductConfig = DeltaProductConfig()

    @nn.nowrap
    def initialize_carry(self, key: Key, input_shape: tuple[int, ...]) -> DeltaProductCarry:
        """Give zeros; `input_shape` is `(batch, features)`."""
        del key
        config, batch = self.config, input_shape[0]
        channels = config.num_heads * (config.head_dim + config.num_householder * (config.head_dim + config.value_dim))
        return DeltaProductCarry(
            jnp.zeros((batch, config.num_heads, config.head_dim, config.value_dim)),
            jnp.zeros((batch, config.conv_kernel_size - 1, channels)),
        )

    @nn.compact
    def __call__(self, carry: DeltaProductCarry, inputs: Array, done: Array) -> tuple[DeltaProductCarry, Array]:
        """Compute a sequence, see `Memoroid`."""
        config, dtype = self.config, self.config.dtype or inputs.dtype
        heads, many, values = config.num_heads, config.num_householder, config.num_heads * config.value_dim
        u = inputs.astype(dtype)
        mixed = nn.Dense(carry.tail.shape[-1], use_bias=False, dtype=dtype, name="qkv")(u)
        taps = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")  # of width 1 / sqrt(steps)
        kernel = self.param("conv_kernel", taps, (config.conv_kernel_size, mixed.shape[-1])).astype(dtype)
        tail, mixed = causal_convolution(mixed, kernel, done, carry.tail)
        ends = heads * config.head_dim, heads * config.head_dim * (1 + many)
        query, key, value = jnp.split(wide(nn.silu(mixed)), ends, axis=-1)
        query = _direction(query.reshape(*u.shape[:2], 1, heads, -1), config.eps) * config.head_dim**-0.5
        key = _direction(key.reshape(*u.shape[:2], many, heads, -1), config.eps)
        value = value.reshape(*u.shape[:2], many, heads, -1)

        beta = nn.sigmoid(wide(nn.Dense(many * heads, use_bias=False, dtype=dtype, name="beta")(u)))
        beta = (2 * beta if config.negative_eigenvalues else beta).reshape(*u.shape[:2], many, heads)
        steps = DeltaSteps(jnp.broadcast_to(query, key.shape), key, value, beta, self._decay(u, dtype))
        state, outputs = _run(steps, done, carry.state, config.chunk_size)

        outputs = nn.RMSNorm(epsilon=config.eps, name="norm")(outputs).reshape(*u.shape[:2], values)
        gate = nn.Dense(values, use_bias=False, dtype=dtype, name="gate")(u)
        outputs = (outputs * nn.silu(wide(gate))).astype(dtype)
        out = nn.Dense(config.features, use_bias=False, dtype=dtype, name="out")
        return DeltaProductCarry(state, tail), out(outputs)

    def _decay(self, u: Array, dtype: Any) -> Array | None:
        """Logarithms of the decays: at the first update of a step, 0 at the others, `[batch, time, updates, heads]`."""
        heads, many = self.config.num_heads, self.config.num_householder
        if not self.config.forget:
            return None
        delta = wide(nn.Dense(heads, use_bias=False, dtype=dtype, name="decay")(u))
        delta = nn.softplus(delta + self.param("dt_bias", initializers.step_size_bias, (heads,)))
        first = -delta * jnp.exp(self.param("A_log", initializers.log_of_uniform(1e-3, 16.0), (heads,)))
        return jnp.pad(first[:, :, None], ((0, 0), (0, 0), (0, many - 1), (0, 0)))


def _run(steps: DeltaSteps, reset: Array, state: Array, chunk: int | None) -> tuple[Array, Array]:
    """Run over steps of several updates each, `[batch, time, updates, heads, ...]`, and read after the last."""
    batch, time, many = steps.beta.shape[:3]
    reset = jnp.pad(reset[:, :, None], ((0, 0), (0, 0), (0, many - 1)))
    if time > 1:
        flat = jax.tree.map(lambda x: x.reshape(batch, time * many, *x.shape[3:]), steps)
        state, outputs = delta_rule(flat, reset.reshape(batch, -1), state, chunk=chunk)
        return state, outputs[:, many - 1 :: many]
    outputs = state  # of a loop that runs at least once
    for index in range(many):
        now = jax.tree.map(lambda x, index=index: x[:, :, index], steps)
        state, outputs = delta_rule(now, reset[:, :, index], state)
    return state, outputs


def _direction(x: Array, eps: float) -> Array:
    return x * jax.lax.rsqrt(jnp.sum(jnp.square(x), axis=-1, keepdims=True) + eps)


def DeltaProduct(hidden_dim: int = 64, **options: Any) -> Memoroid:  # noqa: N802
    """DeltaProduct.

    Args:
        hidden_dim: Width of the output.
        **options: Further fields of `DeltaProductConfig`.

    Returns:
        A sequence model.

    Source:
        Siems et al. 2025, https://arxiv.org/abs/2502.10297.
    """
    return Memoroid(cell=DeltaProductCell(DeltaProductConfig(features=hidden_dim, **options)))
