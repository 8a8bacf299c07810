"""Mamba: the selective state space model S6."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from memorax.core.checks import check_fields, floating, optional, size
from memorax.core.types import Array, Key
from memorax.kernels.convolution import causal_convolution
from memorax.kernels.selective_scan import selective_scan
from memorax.networks import initializers
from memorax.networks.sequence_models.parts.cell import ConfiguredModule, configured_by, wide
from memorax.networks.sequence_models.parts.memoroid import Memoroid
from memorax.networks.sequence_models.parts.synonyms import torso_of


@dataclasses.dataclass(frozen=True)
class MambaConfig:
    """Hyper-parameters of a Mamba layer."""

    features: int = 64
    """Width of the output."""
    state_dim: int = 16
    """States per channel."""
    expansion: int = 2
    """Channels per output."""
    conv_kernel_size: int = 4
    """Kernel size of the convolution, in steps."""
    step_rank: int | None = None
    """Rank of the map from channels to step sizes; None: a sixteenth of `features`, rounded up."""
    dtype: Any = None
    """Type of activations and projections; None: that of the inputs. Step sizes, decays and states are kept in float32
    at least."""

    def __post_init__(self) -> None:
        """Check the sizes.

        Raises:
            TypeError: If a size is not an integer.
            ValueError: If a size is below 1.
        """
        check_fields(
            self,
            features=size(),
            state_dim=size(),
            expansion=size(),
            conv_kernel_size=size(),
            step_rank=optional(size()),
            dtype=optional(floating()),
        )

    @property
    def channels(self) -> int:
        """Width inside the layer."""
        return self.expansion * self.features

    @property
    def rank(self) -> int:
        """The rank of the step sizes."""
        return self.step_rank or -(-self.features // 16)


class MambaCell(ConfiguredModule):
    """A Mamba layer: a selective state space model, whose step size, input and output maps depend on the input.

    `[x; z] = W_in u`, `x = SiLU(conv(x) + b)`, `[δ; B; C] = W_x x`, `Δ = softplus(W_Δ δ + b_Δ)`; for every channel
    `h_t = exp(Δ_t A) h_{t-1} + Δ_t x_t B_t` with `A = -exp(A_log)`, `y_t = C_t h_t + D x_t`; the output is
    `W_out (y SiLU(z))`. The carry is the convolution's tail `[batch, taps - 1, channels]` and the states
    `[batch, state_dim, channels]`. `A_log` is stored `[state_dim, channels]`, transposed to the official code.

    Attributes:
        config: The hyper-parameters. The constructor takes them whole, or by field: see `MambaConfig`.

    Source:
        Gu and Dao 2023, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces",
        https://arxiv.org/abs/2312.00752
    """

    config: MambaConfig = MambaConfig()

    @configured_by(MambaConfig)
    def __init__(self) -> None: ...

    @nn.nowrap
    def initialize_carry(self, key: Key, input_shape: tuple[int, ...]) -> tuple[Array, Array]:
        """Give zeros; `input_shape` is `(batch, features)`."""
        del key
        batch, config = input_shape[0], self.config
        tail = jnp.zeros((batch, config.conv_kernel_size - 1, config.channels))
        return tail, jnp.zeros((batch, config.state_dim, config.channels))

    @nn.compact
    def __call__(self, carry: tuple[Array, Array], inputs: Array, done: Array) -> tuple[tuple[Array, Array], Array]:
        """Compute a sequence, see `Memoroid`."""
        config, channels, states = self.config, self.config.channels, self.config.state_dim
        tail, state = carry
        dtype = config.dtype or inputs.dtype
        x, gate = (nn.Dense(channels, use_bias=False, dtype=dtype, name=name)(inputs) for name in ("input", "gate"))
        conv_init = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform", in_axis=0, out_axis=())
        kernel = self.param("conv_kernel", conv_init, (config.conv_kernel_size, channels))
        bias = self.param("conv_bias", _uniform(config.conv_kernel_size**-0.5), (channels,))
        tail, x = causal_convolution(x, kernel.astype(dtype), done, tail, bias.astype(dtype))
        x = nn.silu(x)

        mixed = wide(nn.Dense(config.rank + 2 * states, use_bias=False, dtype=dtype, name="select")(x))
        low, writes, reads = jnp.split(mixed, (config.rank, config.rank + states), axis=-1)
        steps = nn.Dense(
            channels,
            kernel_init=_uniform(config.rank**-0.5),
            bias_init=initializers.step_size_bias,
            dtype=low.dtype,
            name="step",
        )(low)
        rates = -jnp.exp(self.param("A_log", _init_rates, (states, channels)))
        skip = self.param("D", nn.initializers.ones, (channels,))
        wide_x = wide(x)
        state, y = selective_scan((wide_x, nn.softplus(steps), writes, reads), rates, done, state)
        y = (y + skip[None, None] * wide_x).astype(dtype) * nn.silu(gate)
        return (tail, state), nn.Dense(config.features, use_bias=False, dtype=dtype, name="output")(y)


def _uniform(bound: float) -> Any:
    def init(key: Key, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


def _init_rates(key: Key, shape: tuple[int, ...]) -> Array:
    del key
    return jnp.broadcast_to(jnp.log(jnp.arange(1.0, shape[0] + 1))[:, None], shape)


Mamba = torso_of(MambaConfig, MambaCell, Memoroid, "A Mamba layer")
