"""sLSTM: the LSTM with scalar memory and exponential gates of xLSTM."""

import dataclasses
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from memorax.core.checks import check, check_fields, choice, divides, floating, integer, optional, size
from memorax.core.types import Array, Key
from memorax.kernels.block_diagonal import block_diagonal_product
from memorax.kernels.convolution import causal_convolution
from memorax.kernels.slstm import State, initial_state, slstm
from memorax.networks.sequence_models.parts.cell import ConfiguredModule, configured_by, wide
from memorax.networks.sequence_models.parts.synonyms import synonym, torso, with_synonyms
from memorax.networks.sequence_models.rnn import RNN

FORGET_BIASES = ("powerlaw", "linspace")


@with_synonyms
@dataclasses.dataclass(frozen=True)
class sLSTMConfig:  # noqa: N801 (the paper's name)
    """Hyper-parameters of an sLSTM layer."""

    features: int = 64
    """Width of the output."""
    inner_dim: int = 64
    """Width of the memory."""
    num_heads: int = 4
    """Number of heads, between which there are no recurrent connections."""
    conv_kernel_size: int = 4
    """Kernel size of the convolution before input and forget gates, in steps."""
    forget_bias: str = "powerlaw"
    """Initial biases of the forget gates over the units of a head: "powerlaw" from 5 to -7, "linspace" from 3 to 6."""
    block_index: int = 0
    """Index in a stack of xLSTM blocks, from 0; the exponent of the power law grows with it."""
    num_blocks: int = 1
    """Number of blocks of that stack."""
    dtype: Any = None
    """Type of projections, convolution and outputs; None: that of the inputs. The recurrence is in float32."""
    hidden_dim: int = synonym("inner_dim")
    """Second name of `inner_dim`."""

    def __post_init__(self) -> None:
        """Check the fields.

        Raises:
            TypeError: If a size is not an integer.
            ValueError: If a size is out of range, heads do not divide the memory, or a name is unknown.
        """
        sizes = ("features", "inner_dim", "num_heads", "conv_kernel_size", "num_blocks")
        check_fields(
            self, **dict.fromkeys(sizes, size()), forget_bias=choice(*FORGET_BIASES), dtype=optional(floating())
        )
        check_fields(self, block_index=integer(0, self.num_blocks - 1))
        divides(("num_heads", self.num_heads), ("inner_dim", self.inner_dim), "the heads of an sLSTM")
        if self.inner_dim < 2 * self.num_heads:
            got = f"{self.inner_dim}; the norm of a head with one unit is zero"
            raise ValueError(f"`inner_dim` must be at least 2 * `num_heads` ({2 * self.num_heads}), got {got}")


class Carry(NamedTuple):
    """The carry of an sLSTM.

    Attributes:
        state: Cell, normalizer, output and stabilizer.
        tail: The last inputs of the convolution, `[batch, conv_kernel_size - 1, inner_dim]`.
    """

    state: State
    tail: Array


class sLSTMCell(ConfiguredModule):  # noqa: N801
    """An sLSTM layer: an LSTM with exponential gates, a normalizer, and heads.

    With `u = silu(conv(x))`, in every head (`W`, `R` per head and gate)::

        i, f = W u + R h + b,   z, o = W x + R h + b
        c = sigmoid(f) c + exp(i) tanh(z),   n = sigmoid(f) n + exp(i),   h = sigmoid(o) c / n,   y = norm(h)

    computed with the stabilizer of `memorax.kernels.slstm`. The norm is over a head's units, with a gain. Cells map
    `[batch, features]`; `unroll` maps whole sequences, with the convolution and all input products before the scan.

    Differs from the paper: inputs are projected to `inner_dim` where they have another width, and outputs to
    `features`. Forget gates are sigmoids, as in the official code.

    Attributes:
        config: The hyper-parameters. The constructor takes them whole, or by field: see `sLSTMConfig`.

    Source:
        Beck et al. 2024, "xLSTM: Extended Long Short-Term Memory", https://arxiv.org/abs/2405.04517
    """

    config: sLSTMConfig = sLSTMConfig()

    @configured_by(sLSTMConfig)
    def __init__(self) -> None: ...

    @nn.nowrap
    def initialize_carry(self, key: Key, input_shape: tuple[int, ...]) -> Carry:
        """Give the carry before an episode's first step; `input_shape` is `(batch, features)`."""
        del key
        batch, config = input_shape[0], self.config
        tail = jnp.zeros((batch, config.conv_kernel_size - 1, config.inner_dim), jnp.float32)
        return Carry(initial_state(batch, config.inner_dim), tail)

    def __call__(self, carry: Carry, inputs: Array) -> tuple[Carry, Array]:
        """Compute a step: `inputs` `[batch, features]` to outputs `[batch, features]`."""
        carry, outputs = self.unroll(carry, inputs[:, None], jnp.zeros((inputs.shape[0], 1), bool))
        return carry, outputs[:, 0]

    @nn.compact
    def unroll(self, carry: Carry, inputs: Array, done: Array) -> tuple[Carry, Array]:
        """Compute a sequence.

        Args:
            carry: The carry before the first step.
            inputs: `[batch, time, features]`.
            done: True where the memory is reset before the step, `[batch, time]`.

        Returns:
            The carry after the last step, and the outputs `[batch, time, features]`.
        """
        config = self.config
        x = inputs.astype(config.dtype or inputs.dtype)
        if x.shape[-1] != config.inner_dim:
            x = nn.Dense(config.inner_dim, use_bias=False, dtype=x.dtype, name="into")(x)
        tail, u = self._convolve(x, done, carry.tail)
        gates, recurrent = self._gates(u, x), self._recurrent()
        before = jax.tree.map(lambda part: part.astype(gates.dtype), carry.state)
        state, hidden = slstm(gates, recurrent, done, before)
        state = jax.tree.map(lambda part, old: part.astype(old.dtype), state, carry.state)
        gain = 1.0 + self.param("norm", nn.initializers.zeros, (config.inner_dim,), jnp.float32)
        normal = jax.nn.standardize(hidden, axis=-1, epsilon=1e-5).reshape(*x.shape)
        outputs = (normal * gain[None, None]).astype(x.dtype)
        if config.features != config.inner_dim:
            outputs = nn.Dense(config.features, use_bias=False, dtype=x.dtype, name="out")(outputs)
        return Carry(state, tail), outputs

    def _convolve(self, x: Array, done: Array, tail: Array) -> tuple[Array, Array]:
        taps, width = self.config.conv_kernel_size, self.config.inner_dim
        bound = taps**-0.5

        def uniform(key: Key, shape: tuple[int, ...]) -> Array:
            return jax.random.uniform(key, shape, minval=-bound, maxval=bound)

        kernel = self.param("conv_kernel", uniform, (taps, width)).astype(x.dtype)
        bias = self.param("conv_bias", uniform, (width,)).astype(x.dtype)
        tail, outputs = causal_convolution(x, kernel, done, tail, bias)
        return tail, jax.nn.silu(outputs)

    def _gates(self, u: Array, x: Array) -> Array:
        """What the inputs give to the gates write, forget, candidate, read: `[batch, time, heads, 4 dim]`."""
        heads, dim = self.config.num_heads, self.config.inner_dim // self.config.num_heads
        scale = nn.initializers.normal((2 / (5 * dim)) ** 0.5)
        kernel = self.param("kernel", scale, (heads, dim, 4 * dim), jnp.float32).astype(x.dtype)
        bias = self.param("bias", lambda _: jnp.asarray(_biases(self.config), jnp.float32))
        products = [
            block_diagonal_product(part, half).reshape(*part.shape[:2], heads, 2 * dim)
            for part, half in zip((u, x), jnp.split(kernel, 2, axis=-1), strict=True)
        ]
        return wide(jnp.concatenate(products, axis=-1)) + bias[None, None]

    def _recurrent(self) -> Array:
        heads, dim = self.config.num_heads, self.config.inner_dim // self.config.num_heads
        return self.param("recurrent", nn.initializers.zeros, (heads, dim, 4 * dim), jnp.float32)


def _biases(config: sLSTMConfig) -> np.ndarray:
    """The first biases, `[heads, 4 dim]`."""
    dim = config.inner_dim // config.num_heads
    unit = np.arange(dim) / (dim - 1)
    exponent = 0.3 + 1.3 * config.block_index / max(1, config.num_blocks - 1)
    forget = 5.0 - 12.0 * unit**exponent if config.forget_bias == "powerlaw" else 3.0 + 3.0 * unit
    zeros = np.zeros(dim)
    return np.tile(np.concatenate([zeros, forget, zeros, zeros]), (config.num_heads, 1))


@torso(sLSTMConfig, inner_dim=None)
def sLSTM(features: int, **options: Any) -> RNN:  # noqa: N802 (reads as the class it stands for)
    """An sLSTM layer as a torso.

    Args:
        features: Width of the output; `hidden_dim` is a second name of it.
        inner_dim: Width of the memory; None: `features`, rounded up to whole heads of at least two units.
        **options: Further fields of `sLSTMConfig`.

    Returns:
        A sequence model.

    Raises:
        TypeError: If an argument is unknown or of another type.
        ValueError: If an argument is out of range.

    Source:
        Beck et al. 2024, "xLSTM: Extended Long Short-Term Memory", https://arxiv.org/abs/2405.04517
    """
    if "inner_dim" not in options:
        heads = check("num_heads", options.get("num_heads", sLSTMConfig.num_heads), size())
        options["inner_dim"] = max(2, -(-features // heads)) * heads
    return RNN(cell=sLSTMCell(sLSTMConfig(features=features, **options)))
