"""The matrix memory with the delta rule and a decay for each dimension of the keys: KDA and Gated DeltaNet-2."""

import abc
import dataclasses

import flax.linen as nn
import jax.numpy as jnp

from memorax.core.broadcasting import with_rank
from memorax.core.checks import boolean, check_fields, optional, size
from memorax.core.types import Array, Key
from memorax.kernels.convolution import causal_convolution
from memorax.kernels.vector_gates import GatedSteps, gated_memory
from memorax.networks import initializers
from memorax.networks.sequence_models.parts.cell import ConfiguredModule, wide
from memorax.networks.sequence_models.parts.delta import DeltaCarry, DeltaConfig, direction


@dataclasses.dataclass(frozen=True)
class ChannelDeltaConfig(DeltaConfig):
    """Hyper-parameters of a memory with the delta rule and a decay for each dimension of the keys."""

    gate_rank: int | None = None
    """Rank of the maps to decays and output gates; None: `value_dim`, as in the authors' code."""
    negative_eigenvalues: bool = False
    """Whether up to twice of an old value is erased, which allows negative eigenvalues of the transition."""

    def __post_init__(self) -> None:
        """Check the fields.

        Raises:
            TypeError: If a field is of another type.
            ValueError: If a field is out of range.
        """
        super().__post_init__()
        check_fields(self, gate_rank=optional(size()), negative_eigenvalues=boolean())


class ChannelDeltaCell(ConfiguredModule):
    """An update by the delta rule per time step, after a convolution and before a gated norm.

    A subclass says what is erased and what is written.
    """

    @abc.abstractmethod
    def _gates(self, u: Array, key: Array, value: Array) -> tuple[Array, Array]:
        """Give the keys to erase by and the values to write, for inputs `[batch, time, features]`."""

    @nn.nowrap
    def initialize_carry(self, key: Key, input_shape: tuple[int, ...]) -> DeltaCarry:
        """Give zeros; `input_shape` is `(batch, features)`."""
        del key
        config, batch = self.config, input_shape[0]
        channels = config.num_heads * (2 * config.head_dim + config.value_dim)
        return DeltaCarry(
            jnp.zeros((batch, config.num_heads, config.head_dim, config.value_dim)),
            jnp.zeros((batch, config.conv_kernel_size - 1, channels)),
        )

    @nn.compact
    def __call__(self, carry: DeltaCarry, inputs: Array, done: Array) -> tuple[DeltaCarry, Array]:
        """Compute a sequence, see `Memoroid`."""
        config, heads, dtype = self.config, self.config.num_heads, self.config.dtype or inputs.dtype
        u = inputs.astype(dtype)
        mixed = nn.Dense(carry.tail.shape[-1], use_bias=False, dtype=dtype, name="qkv")(u)
        taps = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")  # of width 1 / sqrt(steps)
        kernel = self.param("conv_kernel", taps, (config.conv_kernel_size, mixed.shape[-1])).astype(dtype)
        tail, mixed = causal_convolution(mixed, kernel, done, carry.tail)
        keys = heads * config.head_dim
        split = (
            part.reshape(*u.shape[:2], heads, -1) for part in jnp.split(wide(nn.silu(mixed)), (keys, 2 * keys), axis=-1)
        )
        query, key, value = split
        query, key = direction(query, config.eps) * config.head_dim**-0.5, direction(key, config.eps)
        erase, value = self._gates(u, key, value)
        steps = GatedSteps(query, key, value, self._decay(u), erase)
        state, outputs = gated_memory(steps, done, carry.state, chunk=config.chunk_size)

        outputs = nn.RMSNorm(epsilon=config.eps, name="norm")(outputs).reshape(*u.shape[:2], -1)
        gate = self._low_rank("gate", u, outputs.shape[-1], bias=True)
        outputs = (outputs * nn.sigmoid(wide(gate))).astype(dtype)
        return DeltaCarry(state, tail), nn.Dense(config.features, use_bias=False, dtype=dtype, name="out")(outputs)

    def _decay(self, u: Array) -> Array:
        """Logarithms of the decays, `[batch, time, heads, head_dim]`."""
        shape = self.config.num_heads, self.config.head_dim
        delta = wide(self._low_rank("decay", u, shape[0] * shape[1])).reshape(*u.shape[:2], *shape)
        delta = nn.softplus(delta + with_rank(self.param("dt_bias", initializers.step_size_bias, shape), delta.ndim))
        rate = jnp.exp(self.param("A_log", initializers.log_of_uniform(1.0, 16.0), shape[:1]))
        return -delta * with_rank(rate[:, None], delta.ndim)

    def _low_rank(self, name: str, u: Array, width: int, *, bias: bool = False) -> Array:
        rank = self.config.gate_rank or self.config.value_dim
        low = nn.Dense(rank, use_bias=False, dtype=u.dtype, name=f"{name}_in")(u)
        return nn.Dense(width, use_bias=bias, dtype=u.dtype, name=f"{name}_out")(low)

    def _gate(self, name: str, u: Array, width: int) -> Array:
        """A gate in [0, 1] for each head, `[batch, time, heads, width]`."""
        heads = self.config.num_heads
        gate = wide(nn.Dense(heads * width, use_bias=False, dtype=u.dtype, name=name)(u))
        return nn.sigmoid(gate).reshape(*u.shape[:2], heads, width)
