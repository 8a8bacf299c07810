"""Mamba-2: a selective state space model with one decay per head."""

import dataclasses
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp

from memorax.core.checks import check_fields, divides, floating, optional, size
from memorax.core.types import Array, Key
from memorax.kernels.convolution import causal_convolution
from memorax.kernels.linear_attention import LinearSteps, linear_attention
from memorax.networks import initializers
from memorax.networks.sequence_models.parts.cell import ConfiguredModule, configured_by, wide
from memorax.networks.sequence_models.parts.memoroid import Memoroid
from memorax.networks.sequence_models.parts.synonyms import torso_of


@dataclasses.dataclass(frozen=True)
class Mamba2Config:
    """Hyper-parameters of a Mamba-2 layer."""

    features: int = 64
    """Width of the output."""
    num_heads: int = 4
    """Number of heads, each with its own decay."""
    head_dim: int = 16
    """Channels of a head."""
    state_dim: int = 16
    """States of a channel; the authors' language models have 64 to 128."""
    conv_kernel_size: int = 4
    """Kernel size of the convolution, in steps."""
    num_groups: int = 1
    """How many sets of `B` and `C` the heads share; a divisor of `num_heads`."""
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
            conv_kernel_size=size(),
            num_groups=size(),
            chunk_size=optional(size()),
            dtype=optional(floating()),
        )
        divides(("num_groups", self.num_groups), ("num_heads", self.num_heads), "heads that share `B` and `C`")


class Mamba2Carry(NamedTuple):
    """The carry of Mamba-2.

    Attributes:
        state: `[batch, num_heads, state_dim, head_dim]`.
        tail: The last inputs of the convolution, `[batch, conv_kernel_size - 1, channels]`.
    """

    state: Array
    tail: Array


class Mamba2Cell(ConfiguredModule):
    """A Mamba-2 layer, computed in chunks by its duality with attention.

    `[z, x, B, C, Δ] = W_in u`; `[x, B, C] = silu(conv([x, B, C]))`; `Δ = softplus(Δ + b)`; for each head
    `S_t = exp(-Δ_t A) S_{t-1} + Δ_t B_t x_tᵀ`, `y_t = S_tᵀ C_t + D x_t`; the output is `W_out (w * rms(y * silu(z)))`,
    gated before the norm. `A` starts uniform in [1, 16], `Δ` log-uniform in [0.001, 0.1].

    As in the authors' code, with these differences: the number of inner channels, `num_heads * head_dim`, is free; the
    norm is over all channels whatever the number of groups; the bias of the convolution is initialized to 0, where the
    authors' code has PyTorch's default, uniform in [-0.5, 0.5] for a kernel of 4 steps; projections have Flax's
    initialization.

    Attributes:
        config: The hyper-parameters. The constructor takes them whole, or by field: see `Mamba2Config`.

    Source:
        Dao and Gu 2024, "Transformers are SSMs: Generalized Models and Efficient Algorithms Through Structured State
        Space Duality", https://arxiv.org/abs/2405.21060
    """

    config: Mamba2Config = Mamba2Config()

    @configured_by(Mamba2Config)
    def __init__(self) -> None: ...

    @nn.nowrap
    def initialize_carry(self, key: Key, input_shape: tuple[int, ...]) -> Mamba2Carry:
        """Give zeros; `input_shape` is `(batch, features)`."""
        del key
        config, batch = self.config, input_shape[0]
        channels = config.num_heads * config.head_dim + 2 * config.num_groups * config.state_dim
        return Mamba2Carry(
            jnp.zeros((batch, config.num_heads, config.state_dim, config.head_dim)),
            jnp.zeros((batch, config.conv_kernel_size - 1, channels)),
        )

    @nn.compact
    def __call__(self, carry: Mamba2Carry, inputs: Array, done: Array) -> tuple[Mamba2Carry, Array]:
        """Compute a sequence, see `Memoroid`."""
        config, dtype = self.config, self.config.dtype or inputs.dtype
        heads, inner, shared = (
            config.num_heads,
            config.num_heads * config.head_dim,
            config.num_groups * config.state_dim,
        )
        channels, u = inner + 2 * shared, inputs.astype(dtype)
        projected = nn.Dense(inner + channels + heads, use_bias=False, dtype=dtype, name="in_proj")(u)
        z, mixed, delta = jnp.split(projected, [inner, inner + channels], axis=-1)

        taps = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")  # of width 1 / sqrt(steps)
        kernel = self.param("conv_kernel", taps, (config.conv_kernel_size, channels)).astype(dtype)
        bias = self.param("conv_bias", nn.initializers.zeros, (channels,)).astype(dtype)
        tail, mixed = causal_convolution(mixed, kernel, done, carry.tail, bias)
        x, b, c = jnp.split(nn.silu(mixed), [inner, inner + shared], axis=-1)
        x = wide(x).reshape(*x.shape[:2], heads, config.head_dim)
        b, c = (part.reshape(*part.shape[:2], config.num_groups, config.state_dim) for part in (b, c))

        delta = nn.softplus(wide(delta) + self.param("dt_bias", initializers.step_size_bias, (heads,))[None, None])
        log_decay = -delta * jnp.exp(self.param("A_log", initializers.log_of_uniform(1.0, 16.0), (heads,)))[None, None]
        steps = LinearSteps(c, b, delta[..., None] * x, log_decay)
        state, y = linear_attention(steps, done, carry.state, chunk=config.chunk_size)
        y += self.param("D", nn.initializers.ones, (heads,))[None, None, :, None] * x
        y = y.reshape(*y.shape[:2], inner) * nn.silu(wide(z))
        y = nn.RMSNorm(epsilon=1e-5, name="norm")(y).astype(dtype)
        return Mamba2Carry(state, tail), nn.Dense(config.features, use_bias=False, dtype=dtype, name="out_proj")(y)


Mamba2 = torso_of(Mamba2Config, Mamba2Cell, Memoroid, "A Mamba-2 layer")
