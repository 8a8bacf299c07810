"""mLSTM: the LSTM with matrix memory and exponential gates of xLSTM."""

import dataclasses
import math
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp

from memorax.core.checks import check, check_fields, divides, floating, optional, real, size
from memorax.core.types import Array, Key
from memorax.kernels.block_diagonal import block_diagonal_product
from memorax.kernels.convolution import causal_convolution
from memorax.kernels.mlstm import EMPTY, MLSTMSteps, mlstm
from memorax.networks import initializers
from memorax.networks.sequence_models.parts.cell import ConfiguredModule, configured_by, wide
from memorax.networks.sequence_models.parts.memoroid import Memoroid
from memorax.networks.sequence_models.parts.synonyms import synonym, torso, with_synonyms


@with_synonyms
@dataclasses.dataclass(frozen=True)
class mLSTMConfig:  # noqa: N801 (the paper's name)
    """Hyper-parameters of an mLSTM layer."""

    features: int = 64
    """Width of the output."""
    inner_dim: int = 64
    """Width inside the layer, of the keys of all heads; a multiple of `num_heads` and of `qkv_block_size`."""
    num_heads: int = 4
    """Number of heads, each with a matrix as its state."""
    conv_kernel_size: int = 4
    """Kernel size of the convolution of keys and queries, in steps."""
    qkv_block_size: int = 4
    """Width of the diagonal blocks of the projections to queries, keys and values."""
    num_blocks: int = 1
    """Number of blocks of the network; the more, the smaller the last projection is initialized."""
    eps: float = 1e-6
    """Added to the normalizer, as in the authors' code. With 0 outputs do not depend on the stabilizer, but gradients
    are NaN where gates saturate."""
    gate_soft_cap: float | None = None
    """Bound `c` of the gates before their activations, `c tanh(x / c)`, above 0; 15 in xLSTM-7B. None: no bound."""
    chunk_size: int | None = None
    """Steps computed at once; None chooses by platform."""
    dtype: Any = None
    """Type of activations and projections; None: that of the inputs. The recurrence is kept in float32 at least."""
    hidden_dim: int = synonym("inner_dim")
    """Second name of `inner_dim`."""

    def __post_init__(self) -> None:
        """Check the fields.

        Raises:
            TypeError: If a size is not an integer.
            ValueError: If a field is out of range.
        """
        check_fields(
            self,
            features=size(),
            inner_dim=size(),
            num_heads=size(),
            conv_kernel_size=size(),
            qkv_block_size=size(),
            num_blocks=size(),
            eps=real(0),
            gate_soft_cap=optional(real(above=0)),
            chunk_size=optional(size()),
            dtype=optional(floating()),
        )
        divides(("num_heads", self.num_heads), ("inner_dim", self.inner_dim), "heads of one width")
        divides(("qkv_block_size", self.qkv_block_size), ("inner_dim", self.inner_dim), "blocks of one width")


class mLSTMCarry(NamedTuple):  # noqa: N801
    """The carry of an mLSTM.

    Attributes:
        matrix: `C`, scaled by `exp(-largest)`, `[batch, num_heads, head_dim, head_dim]`.
        normalizer: `n`, scaled alike, `[batch, num_heads, head_dim]`.
        largest: The stabilizer `m`, `[batch, num_heads]`.
        tail: The last inputs of the convolution, `[batch, conv_kernel_size - 1, inner_dim]`.
    """

    matrix: Array
    normalizer: Array
    largest: Array
    tail: Array


class mLSTMCell(ConfiguredModule):  # noqa: N801
    """An mLSTM layer: a matrix memory with exponential gates, as in the block of xLSTM without norm and residual.

    `[x, z] = W_up u`, `c = silu(conv(x))`; `q`, `k` from `c` and `v` from `x` by block-diagonal projections, and the
    gates `i`, `f` of each head from all three; with `k` divided by `sqrt(head_dim)`,
    `C_t = σ(f) C_{t-1} + exp(i) k vᵀ`, `n_t = σ(f) n_{t-1} + exp(i) k`, `h = Cᵀ q / max(|nᵀ q|, 1)`; the output is
    `W_down ((norm(h) + skip * c) * silu(z))`, where the norm is a layer norm in each head.

    Initialized as in the authors' code, except for the bias of the convolution, which is initially 0. Differs from
    their code: the inner width is free.

    Attributes:
        config: The hyper-parameters. The constructor takes them whole, or by field: see `mLSTMConfig`.

    Source:
        Beck et al. 2024, "xLSTM: Extended Long Short-Term Memory", https://arxiv.org/abs/2405.04517; bounded gates:
        Beck et al. 2025, "xLSTM 7B: A Recurrent LLM for Fast and Efficient Inference", https://arxiv.org/abs/2503.13427
    """

    config: mLSTMConfig = mLSTMConfig()

    @configured_by(mLSTMConfig)
    def __init__(self) -> None: ...

    @nn.nowrap
    def initialize_carry(self, key: Key, input_shape: tuple[int, ...]) -> mLSTMCarry:
        """Give an empty memory; `input_shape` is `(batch, features)`."""
        del key
        batch, heads, inner = input_shape[0], self.config.num_heads, self.config.inner_dim
        return mLSTMCarry(
            jnp.zeros((batch, heads, inner // heads, inner // heads)),
            jnp.zeros((batch, heads, inner // heads)),
            jnp.full((batch, heads), EMPTY, float),
            jnp.zeros((batch, self.config.conv_kernel_size - 1, inner)),
        )

    @nn.compact
    def __call__(self, carry: mLSTMCarry, inputs: Array, done: Array) -> tuple[mLSTMCarry, Array]:
        """Compute a sequence, see `Memoroid`."""
        config, dtype = self.config, self.config.dtype or inputs.dtype
        u, heads, inner = inputs.astype(dtype), config.num_heads, config.inner_dim
        small = initializers.small(u.shape[-1])
        x, z = jnp.split(nn.Dense(2 * inner, use_bias=False, dtype=dtype, kernel_init=small, name="up")(u), 2, axis=-1)

        taps = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")  # of width 1 / sqrt(steps)
        kernel = self.param("conv_kernel", taps, (config.conv_kernel_size, inner)).astype(dtype)
        bias = self.param("conv_bias", nn.initializers.zeros, (inner,)).astype(dtype)
        tail, mixed = causal_convolution(x, kernel, done, carry.tail, bias)
        mixed = nn.silu(mixed)
        sources = {"query": mixed, "key": mixed, "value": x}
        projected = [self._blocks(name, small, source) for name, source in sources.items()]
        query, key, value = (wide(part).reshape(*u.shape[:2], heads, inner // heads) for part in projected)
        write, forget = self._gates([wide(part) for part in projected])

        steps = MLSTMSteps(query, key * (inner // heads) ** -0.5, value, write, forget)
        state, h = mlstm(steps, done, carry[:3], eps=config.eps, chunk=config.chunk_size)
        h = nn.LayerNorm(epsilon=1e-5, use_bias=False, use_scale=False, name="norm")(h).reshape(*u.shape[:2], inner)
        h *= self.param("norm_scale", nn.initializers.ones, (inner,))[None, None]
        h += self.param("skip", nn.initializers.ones, (inner,))[None, None] * wide(mixed)
        h = (h * nn.silu(wide(z))).astype(dtype)
        last = initializers.wang(u.shape[-1], config.num_blocks)
        outputs = nn.Dense(config.features, use_bias=False, dtype=dtype, kernel_init=last, name="down")(h)
        return mLSTMCarry(*state, tail), outputs

    def _blocks(self, name: str, init: nn.initializers.Initializer, x: Array) -> Array:
        """Project by a block-diagonal matrix."""
        width = self.config.qkv_block_size
        kernel = self.param(name, init, (self.config.inner_dim // width, width, width)).astype(x.dtype)
        return block_diagonal_product(x, kernel)

    def _gates(self, parts: list[Array]) -> tuple[Array, Array]:
        """Input and forget gates, at first independent of the inputs: small random biases, and forgetting by head."""
        heads, width = self.config.num_heads, sum(part.shape[-1] for part in parts)

        def remember(_: Key, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
            return jnp.linspace(3.0, 6.0, shape[0], dtype=dtype)

        gates = [_Gate(heads, nn.initializers.normal(0.1), name="write"), _Gate(heads, remember, name="forget")]
        kernel, bias = (jnp.concatenate(both, axis=-1) for both in zip(*(gate(width) for gate in gates), strict=True))
        # Both gates of all parts in products with a few columns: side by side, the parts would have to be copied.
        flat = zip((part.reshape(-1, part.shape[-1]) for part in parts), jnp.split(kernel, len(parts)), strict=True)
        products = sum((part @ rows for part, rows in flat), start=bias[None])
        write, forget = jnp.split(products.reshape(*parts[0].shape[:2], 2 * heads), 2, axis=-1)
        cap = self.config.gate_soft_cap
        return (write, forget) if cap is None else (cap * jnp.tanh(write / cap), cap * jnp.tanh(forget / cap))


class _Gate(nn.Module):
    """The parameters of a gate's dense layer, with the kernel initially zero."""

    features: int
    bias_init: nn.initializers.Initializer

    @nn.compact
    def __call__(self, width: int) -> tuple[Array, Array]:
        kernel = self.param("kernel", nn.initializers.zeros, (width, self.features))
        return kernel, self.param("bias", self.bias_init, (self.features,))


@torso(mLSTMConfig, inner_dim=None)
def mLSTM(features: int, **options: Any) -> Memoroid:  # noqa: N802 (reads as the class it stands for)
    """An mLSTM layer as a torso.

    Args:
        features: Width of the output; `hidden_dim` is a second name of it.
        inner_dim: Width inside the layer; None: `features`, rounded up to whole heads and blocks.
        **options: Further fields of `mLSTMConfig`.

    Returns:
        A sequence model.

    Raises:
        TypeError: If an argument is unknown or of another type.
        ValueError: If an argument is out of range.

    Source:
        Beck et al. 2024, "xLSTM: Extended Long Short-Term Memory", https://arxiv.org/abs/2405.04517
    """
    if "inner_dim" not in options:
        step = math.lcm(*(check(name, options.get(name, 4), size()) for name in ("num_heads", "qkv_block_size")))
        options["inner_dim"] = math.ceil(features / step) * step
    return Memoroid(cell=mLSTMCell(mLSTMConfig(features=features, **options)))
