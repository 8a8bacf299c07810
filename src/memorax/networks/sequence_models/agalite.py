"""AGaLiTe: the approximate gated linear transformer, whose memory is a sum of a few outer products."""

import dataclasses
import math
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp

from memorax.core.broadcasting import with_rank
from memorax.core.checks import check_fields, floating, optional, real, size
from memorax.core.types import Array, Key
from memorax.kernels.attention import episode_steps
from memorax.kernels.linear_scan import linear_scan
from memorax.networks.sequence_models.parts.cell import ConfiguredModule, configured_by, wide
from memorax.networks.sequence_models.parts.memoroid import Memoroid
from memorax.networks.sequence_models.parts.synonyms import torso_of

_FIRST_TICK = 2
"""The clock at an episode's first step, as in the authors' code."""


@dataclasses.dataclass(frozen=True)
class AGaLiTeConfig:
    """Hyper-parameters of the attention of AGaLiTe."""

    features: int = 64
    """Width of the output."""
    num_heads: int = 4
    """Number of heads."""
    head_dim: int = 16
    """Width of a head's queries, keys and values."""
    eta: int = 4
    """How many times queries and keys are expanded."""
    rank: int = 2
    """Number of oscillating sums that approximate the matrix of a gated linear attention."""
    eps: float = 1e-5
    """Added to the normalizer, above 0."""
    dtype: Any = None
    """Type of activations and projections; None: that of the inputs. The recurrence is kept in float32 at least."""

    def __post_init__(self) -> None:
        """Check the fields.

        Raises:
            TypeError: If a size is not an integer.
            ValueError: If a field is out of range.
        """
        sizes = ("features", "num_heads", "head_dim", "eta", "rank")
        check_fields(self, **dict.fromkeys(sizes, size()), eps=real(above=0), dtype=optional(floating()))

    @property
    def period(self) -> int:
        """Steps after which all oscillations repeat."""
        return 2 * max(self.rank - 1, 1)


class AGaLiTeCarry(NamedTuple):
    """The carry of AGaLiTe.

    Attributes:
        keys: Oscillating sums of keys, `[batch, num_heads, rank, eta * head_dim]`.
        values: Oscillating sums of values, `[batch, num_heads, rank, head_dim]`.
        normalizer: The sum of keys, `[batch, num_heads, eta * head_dim]`.
        steps: Steps since the episode's start, up to the period of the oscillations, int32 `[batch]`.
    """

    keys: Array
    values: Array
    normalizer: Array
    steps: Array


class AGaLiTeCell(ConfiguredModule):
    """The attention of AGaLiTe: gated linear attention, whose matrices are approximated by `rank` outer products.

    In each head `[k, q, v, b, g] = W u` and `[p_k, p_q, p_g] = W_p u`. Keys `k ← relu(k) relu(p_k)ᵀ`, queries
    `q ← relu(q) relu(p_q)ᵀ` and gates `γ = σ(g) σ(p_g)ᵀ` are flattened, `β = σ(b)`. With `c_i(t) = cos(ω_i t)` for
    `rank` frequencies between -π and π, `K_i = (1 - γ) K_i + c_i γ k`, `V_i = (1 - β) V_i + c_i β v` and
    `s = (1 - γ) s + γ k`; the output is `W_out (Σ_i (K_i . q) V_i / (2 rank (s . q) + eps))`.

    As in the authors' code, but that the clock `t` starts again in every episode. Their network is a stack of gated
    residual blocks around this layer, each with a feed-forward network, as in GTrXL.

    Attributes:
        config: The hyper-parameters. The constructor takes them whole, or by field: see `AGaLiTeConfig`.

    Example:
        >>> from memorax.networks import Memoroid, blocks
        >>> layers = (Memoroid(cell=AGaLiTeCell(features=64)), blocks.FFN(64, activation=nn.relu))
        >>> gated = [blocks.GatedResidual(blocks.PreNorm(blocks.Stack([layer, nn.relu]))) for layer in layers]
        >>> network = blocks.Stack([blocks.Projection(64), nn.relu, *gated])

    Source:
        Pramanik et al. 2023, "AGaLiTe: Approximate Gated Linear Transformers for Online Reinforcement Learning",
        https://arxiv.org/abs/2310.15719
    """

    config: AGaLiTeConfig = AGaLiTeConfig()

    @configured_by(AGaLiTeConfig)
    def __init__(self) -> None: ...

    @nn.nowrap
    def initialize_carry(self, key: Key, input_shape: tuple[int, ...]) -> AGaLiTeCarry:
        """Give zeros; `input_shape` is `(batch, features)`."""
        del key
        config, front = self.config, (input_shape[0], self.config.num_heads)
        width = config.eta * config.head_dim
        return AGaLiTeCarry(
            jnp.zeros((*front, config.rank, width)),
            jnp.zeros((*front, config.rank, config.head_dim)),
            jnp.zeros((*front, width)),
            jnp.zeros((input_shape[0],), jnp.int32),
        )

    @nn.compact
    def __call__(self, carry: AGaLiTeCarry, inputs: Array, done: Array) -> tuple[AGaLiTeCarry, Array]:
        """Compute a sequence, see `Memoroid`."""
        config, dtype = self.config, self.config.dtype or inputs.dtype
        u, front = inputs.astype(dtype), (*inputs.shape[:2], config.num_heads)

        def project(name: str, width: int) -> Array:
            return wide(self._dense(name, config.num_heads * width, dtype)(u)).reshape(*front, width)

        key, query, value, beta, gamma = jnp.split(project("mix", 5 * config.head_dim), 5, axis=-1)
        for_key, for_query, for_gamma = jnp.split(project("expand", 3 * config.eta), 3, axis=-1)

        def expand(x: Array, by: Array) -> Array:
            return (by[..., :, None] * x[..., None, :]).reshape(*front, -1)

        query = expand(nn.relu(query), nn.relu(for_query))
        gamma, beta = expand(nn.sigmoid(gamma), nn.sigmoid(for_gamma)), nn.sigmoid(beta)
        key, value = gamma * expand(nn.relu(key), nn.relu(for_key)), beta * value
        steps = episode_steps(done, carry.steps)
        waves = self._waves(steps)[..., None].astype(key.dtype)

        # Heads and width are one axis in the scans, behind that of the rank: XLA's CPU backend crashes on sums of
        # products with more axes, as seeds and agents make them.
        def merge(x: Array) -> Array:
            return x.reshape(*x.shape[:-2], -1)

        def accumulate(gate: Array, new: Array, first: Array) -> tuple[Array, Array]:
            """Sum up what is written at every frequency, `[batch, time, rank, heads * width]`."""
            new, first = waves * merge(new)[:, :, None], first.swapaxes(1, 2)
            decay = jnp.broadcast_to(1 - merge(gate)[:, :, None], new.shape)
            last, states = linear_scan(decay, new, done, merge(first))
            return last.reshape(first.shape).swapaxes(1, 2), states

        last_keys, keys = accumulate(gamma, key, carry.keys)
        last_values, values = accumulate(beta, value, carry.values)
        last_sum, sums = linear_scan(1 - merge(gamma), merge(key), done, merge(carry.normalizer))
        rows = (-1, config.rank, config.num_heads)
        kept, written = keys.reshape(*rows, query.shape[-1]), values.reshape(*rows, value.shape[-1])
        asked, sums = (x.reshape(-1, 1, config.num_heads, query.shape[-1]) for x in (query, sums))
        mixed = jnp.sum(jnp.sum(kept * asked, axis=-1, keepdims=True) * written, axis=1)
        mixed /= 2 * config.rank * jnp.sum(sums * asked, axis=-1)[:, 0, :, None] + config.eps
        outputs = self._dense("out", config.features, dtype)(mixed.astype(dtype).reshape(*front[:2], -1))
        after = jnp.remainder(steps[:, -1] + 1, config.period)
        return AGaLiTeCarry(last_keys, last_values, last_sum.reshape(carry.normalizer.shape), after), outputs

    def _dense(self, name: str, width: int, dtype: Any) -> nn.Dense:
        return nn.Dense(width, kernel_init=nn.initializers.orthogonal(math.sqrt(2)), dtype=dtype, name=name)

    @nn.nowrap
    def _waves(self, steps: Array) -> Array:
        """The oscillations, `[batch, time, rank]`, from whole numbers: exact in episodes of any length."""
        rank, period = self.config.rank, self.config.period
        numbers = jnp.asarray([2 * i - max(rank - 1, 1) for i in range(rank)], steps.dtype)
        ticks = jnp.remainder(steps + _FIRST_TICK, period)[..., None]
        return jnp.cos(2 * jnp.pi / period * jnp.remainder(ticks * with_rank(numbers, ticks.ndim), period))


AGaLiTe = torso_of(AGaLiTeConfig, AGaLiTeCell, Memoroid, "The attention of AGaLiTe")
