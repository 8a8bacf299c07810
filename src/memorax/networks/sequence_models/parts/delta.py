"""The matrix memory with the delta rule that Gated DeltaNet and DeltaProduct share."""

import dataclasses
from typing import Any, NamedTuple, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp

from memorax.core.checks import check_fields, floating, optional, real, size
from memorax.core.types import Array, Key
from memorax.kernels.convolution import causal_convolution
from memorax.kernels.delta_rule import DeltaSteps, delta_rule
from memorax.networks import initializers
from memorax.networks.sequence_models.parts.cell import ConfiguredModule, wide


@dataclasses.dataclass(frozen=True)
class DeltaConfig:
    """Hyper-parameters of a memory with the delta rule."""

    features: int = 64
    """Width of the output."""
    num_heads: int = 4
    """Number of heads, each with a matrix as its state."""
    head_dim: int = 16
    """Width of a head's keys."""
    value_dim: int = 16
    """Width of a head's values; the authors' language models have twice that of the keys."""
    conv_kernel_size: int = 4
    """Kernel size of the convolution of queries, keys and values, in steps."""
    eps: float = 1e-6
    """Added to mean squares and to squared norms of keys, above 0."""
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
            value_dim=size(),
            conv_kernel_size=size(),
            eps=real(above=0),
            chunk_size=optional(size()),
            dtype=optional(floating()),
        )


class DeltaCarry(NamedTuple):
    """The carry of a memory with the delta rule.

    Attributes:
        state: `[batch, num_heads, head_dim, value_dim]`.
        tail: The last inputs of the convolution, `[batch, conv_kernel_size - 1, channels]`.
    """

    state: Array
    tail: Array


class Rule(Protocol):
    """A kernel that updates a matrix once a step."""

    def __call__(self, steps: Any, reset: Array, state: Array, *, chunk: int | None = None) -> tuple[Array, Array]:
        """Update the state by steps `[batch, time, heads, ...]`; return it, and what was read after each."""
        ...


class DeltaCell(ConfiguredModule):
    """One or more updates by the delta rule per time step, after a convolution and before a gated norm.

    The configuration of a subclass adds `negative_eigenvalues`: whether β is up to 2. A subclass may override the
    number of updates and whether the memory decays.
    """

    @property
    def updates(self) -> int:
        """Updates per time step."""
        return 1

    @property
    def decays(self) -> bool:
        """Whether the memory decays, once per time step."""
        return True

    @nn.nowrap
    def initialize_carry(self, key: Key, input_shape: tuple[int, ...]) -> DeltaCarry:
        """Give zeros; `input_shape` is `(batch, features)`."""
        del key
        config, batch = self.config, input_shape[0]
        channels = config.num_heads * (config.head_dim + self.updates * (config.head_dim + config.value_dim))
        return DeltaCarry(
            jnp.zeros((batch, config.num_heads, config.head_dim, config.value_dim)),
            jnp.zeros((batch, config.conv_kernel_size - 1, channels)),
        )

    @nn.compact
    def __call__(self, carry: DeltaCarry, inputs: Array, done: Array) -> tuple[DeltaCarry, Array]:
        """Compute a sequence, see `Memoroid`."""
        config, dtype = self.config, self.config.dtype or inputs.dtype
        u = inputs.astype(dtype)
        mixed = nn.Dense(carry.tail.shape[-1], use_bias=False, dtype=dtype, name="qkv")(u)
        taps = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")  # of width 1 / sqrt(steps)
        kernel = self.param("conv_kernel", taps, (config.conv_kernel_size, mixed.shape[-1])).astype(dtype)
        tail, mixed = causal_convolution(mixed, kernel, done, carry.tail)
        steps = self._steps(u, wide(nn.silu(mixed)))
        state, outputs = run_updates(delta_rule, steps, done, carry.state, config.chunk_size)

        values = config.num_heads * config.value_dim
        outputs = nn.RMSNorm(epsilon=config.eps, name="norm")(outputs).reshape(*u.shape[:2], values)
        gate = nn.Dense(values, use_bias=False, dtype=dtype, name="gate")(u)
        outputs = (outputs * nn.silu(wide(gate))).astype(dtype)
        out = nn.Dense(config.features, use_bias=False, dtype=dtype, name="out")
        return DeltaCarry(state, tail), out(outputs)

    def _steps(self, u: Array, mixed: Array) -> DeltaSteps:
        """Compute the inputs of the updates, `[batch, time, updates, heads, ...]`."""
        config, heads, many = self.config, self.config.num_heads, self.updates
        ends = heads * config.head_dim, heads * config.head_dim * (1 + many)
        query, key, value = jnp.split(mixed, ends, axis=-1)
        query = direction(query.reshape(*u.shape[:2], 1, heads, -1), config.eps) * config.head_dim**-0.5
        key = direction(key.reshape(*u.shape[:2], many, heads, -1), config.eps)
        value = value.reshape(*u.shape[:2], many, heads, -1)
        beta = nn.sigmoid(wide(nn.Dense(many * heads, use_bias=False, dtype=u.dtype, name="beta")(u)))
        beta = (2 * beta if config.negative_eigenvalues else beta).reshape(*u.shape[:2], many, heads)
        return DeltaSteps(jnp.broadcast_to(query, key.shape), key, value, beta, self._decay(u))

    def _decay(self, u: Array) -> Array | None:
        """Logarithms of the decays: at the first update of a step, 0 at the others, `[batch, time, updates, heads]`."""
        if not self.decays:
            return None
        heads = self.config.num_heads
        delta = wide(nn.Dense(heads, use_bias=False, dtype=u.dtype, name="decay")(u))
        delta = nn.softplus(delta + self.param("dt_bias", initializers.step_size_bias, (heads,))[None, None])
        first = -delta * jnp.exp(self.param("A_log", initializers.log_of_uniform(1e-3, 16.0), (heads,)))[None, None]
        return jnp.pad(first[:, :, None], ((0, 0), (0, 0), (0, self.updates - 1), (0, 0)))


def run_updates(rule: Rule, steps: Any, reset: Array, state: Array, chunk: int | None) -> tuple[Array, Array]:
    """Run over steps of several updates each, and read after the last of them.

    Args:
        rule: `(steps [batch, time, heads, ...], reset [batch, time], state, *, chunk) -> (state, outputs)`.
        steps: A pytree of arrays `[batch, time, updates, heads, ...]`.
        reset: True where the state is forgotten before the first update of a step, `[batch, time]`.
        state: Before the first step.
        chunk: Updates computed at once; None chooses.

    Returns:
        The state after the last step, and the outputs `[batch, time, heads, ...]`.
    """
    batch, time, many = jax.tree.leaves(steps)[0].shape[:3]
    reset = jnp.pad(reset[:, :, None], ((0, 0), (0, 0), (0, many - 1)))
    if time > 1:
        flat = jax.tree.map(lambda x: x.reshape(batch, time * many, *x.shape[3:]), steps)
        state, outputs = rule(flat, reset.reshape(batch, -1), state, chunk=chunk)
        return state, outputs[:, many - 1 :: many]
    outputs = state  # of a loop that runs at least once
    for index in range(many):
        now = jax.tree.map(lambda x, index=index: x[:, :, index], steps)
        state, outputs = rule(now, reset[:, :, index], state, chunk=chunk)
    return state, outputs


def direction(x: Array, eps: float) -> Array:
    """Give vectors, along the last axis, the length 1."""
    return x * jax.lax.rsqrt(jnp.sum(jnp.square(x), axis=-1, keepdims=True) + eps)
