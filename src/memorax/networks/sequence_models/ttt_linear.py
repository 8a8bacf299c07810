"""TTT-Linear: a memory that is a linear model, trained at test time on what it sees."""

import dataclasses
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from memorax.core.checks import check_fields, floating, optional, real, size
from memorax.core.types import Array, Key
from memorax.kernels.attention import episode_steps, rotate
from memorax.kernels.convolution import causal_convolution
from memorax.kernels.test_time_training import Learner, LearnerState, LearnerSteps, learn_and_read
from memorax.networks.sequence_models.parts.cell import ConfiguredModule, configured_by, wide
from memorax.networks.sequence_models.parts.memoroid import Memoroid
from memorax.networks.sequence_models.parts.synonyms import torso_of


@dataclasses.dataclass(frozen=True)
class TTTLinearConfig:
    """Hyper-parameters of TTT-Linear."""

    features: int = 64
    """Width of the output."""
    num_heads: int = 4
    """Number of heads, each with a linear model as its state."""
    head_dim: int = 16
    """Width of a head's queries, keys and values, even."""
    mini_batch_size: int = 16
    """Steps of an episode whose gradients are taken at the same weights, and which are computed at once."""
    base_rate: float = 1.0
    """Largest learning rate of the linear models, times `head_dim`."""
    conv_kernel_size: int = 4
    """Kernel size of the convolutions of queries and keys, in steps."""
    rope_base: float = 10_000.0
    """The slowest pair of a query or key rotates once in about `2 pi rope_base` steps."""
    eps: float = 1e-6
    """Added to variances, above 0."""
    dtype: Any = None
    """Type of activations and projections; None: that of the inputs. The recurrence is kept in float32 at least."""

    def __post_init__(self) -> None:
        """Check the fields.

        Raises:
            TypeError: If a size is not an integer.
            ValueError: If a field is out of range.
        """
        sizes = ("features", "num_heads", "head_dim", "mini_batch_size", "conv_kernel_size")
        check_fields(self, **dict.fromkeys(sizes, size()), dtype=optional(floating()))
        check_fields(self, **dict.fromkeys(("base_rate", "rope_base", "eps"), real(above=0)))
        if self.head_dim % 2:
            raise ValueError(f"`head_dim` must be even for rotated keys, got {self.head_dim}")


class TTTLinearCarry(NamedTuple):
    """The carry of TTT-Linear.

    Attributes:
        learned: What the linear models have learned, see `memorax.kernels.test_time_training.LearnerState`.
        position: The next step's place in its mini-batch, int32 `[batch]`.
        tail: The last inputs of the convolutions, `[batch, conv_kernel_size - 1, num_heads * head_dim]`.
    """

    learned: LearnerState
    position: Array
    tail: Array


class TTTLinearCell(ConfiguredModule):
    """TTT-Linear: a linear model for each head, trained by gradient descent to predict values from keys.

    With `u_t` the inputs, `q_t` and `k_t` are two causal convolutions of `W_qk u_t`, turned by the step's position in
    its mini-batch (RoPE), and `v_t = W_v u_t`. A step's loss is `|norm(k_t W + b) - (v_t - k_t)|² / 2`, with a layer
    norm in each head; its learning rate is `η_t = base_rate σ(w_η u_t + b_η) / head_dim`. `W` and `b` begin each
    episode at learned values, and `g_s` is the gradient of the loss of step s by `k_s W + b` at the weights that its
    mini-batch began with. Step t, the i-th of its mini-batch, reads with

        W_t = W - c_i Σ_s η_s k_sᵀ g_s,   b_t = b - c_i Σ_s η_s g_s,   s from the mini-batch's beginning to t,
        o_t = q_t + norm(q_t W_t + b_t),   c_i = max(1 / i + a_i, 0),   a_i = 0 at first,

    and the last one's `W_t` and `b_t` are those of the next mini-batch. Then `y = W_out (norm(o) * gelu(W_g u))`,
    normalized over all heads together. A mini-batch is computed at once, in the paper's dual form.

    As in the authors' code with the Mamba backbone, without its further convolution before the layer; inner widths are
    free, pairs of RoPE are those of LLaMA, and projections have Flax's initialization. The carry holds
    differences from the learned initial weights, so that it is zero where an episode begins.

    Attributes:
        config: The hyper-parameters. The constructor takes them whole, or by field: see `TTTLinearConfig`.

    Source:
        Sun et al. 2024, "Learning to (Learn at Test Time): RNNs with Expressive Hidden States",
        https://arxiv.org/abs/2407.04620
    """

    config: TTTLinearConfig = TTTLinearConfig()

    @configured_by(TTTLinearConfig)
    def __init__(self) -> None: ...

    @nn.nowrap
    def initialize_carry(self, key: Key, input_shape: tuple[int, ...]) -> TTTLinearCarry:
        """Give zeros; `input_shape` is `(batch, features)`."""
        del key
        config, batch, heads, dim = self.config, input_shape[0], self.config.num_heads, self.config.head_dim
        matrix, vector = jnp.zeros((batch, heads, dim, dim)), jnp.zeros((batch, heads, dim))
        return TTTLinearCarry(
            LearnerState(matrix, vector, matrix, vector),
            jnp.zeros(batch, jnp.int32),
            jnp.zeros((batch, config.conv_kernel_size - 1, heads * dim)),
        )

    @nn.compact
    def __call__(self, carry: TTTLinearCarry, inputs: Array, done: Array) -> tuple[TTTLinearCarry, Array]:
        """Compute a sequence, see `Memoroid`."""
        config, dtype = self.config, self.config.dtype or inputs.dtype
        u, inner = inputs.astype(dtype), config.num_heads * config.head_dim
        count = episode_steps(done, carry.position)
        position = count % config.mini_batch_size
        mixed = nn.Dense(inner, use_bias=False, dtype=dtype, name="query_key")(u)
        (tail, query), (_, key) = (self._convolve(name, mixed, done, carry.tail) for name in ("query", "key"))
        frequencies = config.rope_base ** (-np.arange(config.head_dim // 2) * 2.0 / config.head_dim)
        query, key = (rotate(self._heads(x), position[..., None], frequencies) for x in (query, key))
        value = self._heads(nn.Dense(inner, use_bias=False, dtype=dtype, name="value")(u))
        rates = nn.Dense(config.num_heads, kernel_init=nn.initializers.normal(0.02), dtype=dtype, name="rate")(u)
        rates = config.base_rate / config.head_dim * nn.sigmoid(wide(rates))

        steps = LearnerSteps(query, key, value, rates)
        learned, outputs = learn_and_read(steps, self._learner(), position, done, carry.learned, eps=config.eps)
        norm = nn.LayerNorm(epsilon=config.eps, name="norm")
        outputs = norm((query + outputs).reshape(*u.shape[:2], inner))
        gate = nn.Dense(inner, use_bias=False, dtype=dtype, name="gate")(u)
        outputs = (outputs * nn.gelu(wide(gate), approximate=True)).astype(dtype)
        after = (count[:, -1] + 1) % config.mini_batch_size
        out = nn.Dense(config.features, use_bias=False, dtype=dtype, name="out")
        return TTTLinearCarry(learned, after, tail), out(outputs)

    def _heads(self, x: Array) -> Array:
        return wide(x).reshape(*x.shape[:2], self.config.num_heads, self.config.head_dim)

    def _convolve(self, name: str, x: Array, done: Array, tail: Array) -> tuple[Array, Array]:
        taps = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")  # of width 1 / sqrt(steps)
        kernel = self.param(f"{name}_conv_kernel", taps, (self.config.conv_kernel_size, x.shape[-1]))
        bias = self.param(f"{name}_conv_bias", nn.initializers.zeros, x.shape[-1:])
        return causal_convolution(x, kernel.astype(x.dtype), done, tail, bias.astype(x.dtype))

    def _learner(self) -> Learner:
        shape = self.config.num_heads, self.config.head_dim
        length = self.config.mini_batch_size
        extra = self.param("shares", nn.initializers.zeros, (length,))
        return Learner(
            self.param("weight", nn.initializers.normal(0.02), (*shape, shape[1])),
            self.param("bias", nn.initializers.zeros, shape),
            self.param("inner_scale", nn.initializers.ones, shape),
            self.param("inner_shift", nn.initializers.zeros, shape),
            jnp.maximum(1 / jnp.arange(1, length + 1, dtype=extra.dtype) + extra, 0),
        )


TTTLinear = torso_of(TTTLinearConfig, TTTLinearCell, Memoroid, "TTT-Linear")
