"""RetNet's retention: linear attention with a fixed decay for each head, and rotary positions."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from memorax.core.checks import boolean, check_fields, floating, optional, real, size
from memorax.core.types import Array, Key
from memorax.kernels.linear_attention import LinearSteps, linear_attention
from memorax.networks.sequence_models.parts.cell import ConfiguredModule, configured_by, wide
from memorax.networks.sequence_models.parts.memoroid import Memoroid
from memorax.networks.sequence_models.parts.synonyms import torso_of


@dataclasses.dataclass(frozen=True)
class RetNetConfig:
    """Hyper-parameters of multi-scale retention."""

    features: int = 64
    """Width of the output."""
    num_heads: int = 4
    """Number of heads; head h, from 0, keeps `1 - 2^(-5-h)` of its memory at each step."""
    head_dim: int = 16
    """Width of a head's keys; even with `rotation`."""
    value_dim: int = 32
    """Width of a head's values; in the paper twice that of the keys."""
    rotation: bool = True
    """Whether keys and queries are rotated by their positions (xPos without its scaling)."""
    eps: float = 1e-6
    """Added to the mean square in the heads' norm, above 0."""
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
            rotation=boolean(),
            eps=real(above=0),
            chunk_size=optional(size()),
            dtype=optional(floating()),
        )
        if self.rotation and self.head_dim % 2:
            raise ValueError(f"`head_dim` must be even for rotated keys, got {self.head_dim}; or set `rotation=False`")


class RetNetCell(ConfiguredModule):
    """Multi-scale retention.

    `S_t = γ_h R S_{t-1} + k_t v_tᵀ`, `o_t = S_tᵀ q_t` with `γ_h = 1 - 2^(-5-h)`, `k` divided by `sqrt(head_dim)`, and
    `R` rotating pairs of key dimensions by fixed angles from 1 to 1/10000 of a radian; then
    `y = W (swish(W_g x) * norm(o))`, where each head is divided by its root mean square. The carry is
    `[batch, num_heads, head_dim, value_dim]`.

    Differs from the paper: the state rotates instead of keys and queries at absolute positions, which gives the same
    outputs and needs no count of steps. The paper's three further normalizations of the scores are left out: the norm
    of the heads undoes them. That norm subtracts no mean, as in the authors' code. Projections have Flax's default
    initialization (LeCun normal), where the authors' code has Xavier with gains of 2^-2.5 (queries, keys, values, gate)
    and 2^-1 (output), which is smaller.

    Attributes:
        config: The hyper-parameters. The constructor takes them whole, or by field: see `RetNetConfig`.

    Source:
        Sun et al. 2023, "Retentive Network: A Successor to Transformer for Large Language Models",
        https://arxiv.org/abs/2307.08621
    """

    config: RetNetConfig = RetNetConfig()

    @configured_by(RetNetConfig)
    def __init__(self) -> None: ...

    @nn.nowrap
    def initialize_carry(self, key: Key, input_shape: tuple[int, ...]) -> Array:
        """Give zeros; `input_shape` is `(batch, features)`."""
        del key
        return jnp.zeros((input_shape[0], self.config.num_heads, self.config.head_dim, self.config.value_dim))

    @nn.compact
    def __call__(self, carry: Array, inputs: Array, done: Array) -> tuple[Array, Array]:
        """Compute a sequence, see `Memoroid`."""
        config, dtype = self.config, self.config.dtype or inputs.dtype
        x = inputs.astype(dtype)
        widths = {"query": config.head_dim, "key": config.head_dim, "value": config.value_dim}
        query, key, value = (
            nn.Dense(config.num_heads * width, use_bias=False, dtype=dtype, name=name)(x).reshape(
                *x.shape[:2], config.num_heads, width
            )
            for name, width in widths.items()
        )
        key = key * config.head_dim**-0.5
        angles = -(10000.0 ** -np.linspace(0, 1, config.head_dim // 2)) if config.rotation else None
        log_decay = jnp.asarray(np.log1p(-(2.0 ** (-5.0 - np.arange(config.num_heads)))), carry.dtype)
        steps = LinearSteps(query, key, value, log_decay, None if angles is None else jnp.asarray(angles, carry.dtype))
        carry, outputs = linear_attention(steps, done, carry, chunk=config.chunk_size)
        outputs *= jax.lax.rsqrt(jnp.mean(jnp.square(outputs), axis=-1, keepdims=True) + config.eps)
        outputs = outputs.reshape(*x.shape[:2], -1)
        gate = nn.Dense(outputs.shape[-1], use_bias=False, dtype=dtype, name="gate")(x)
        outputs = (outputs * nn.silu(wide(gate))).astype(dtype)
        return carry, nn.Dense(config.features, use_bias=False, dtype=dtype, name="out")(outputs)


RetNet = torso_of(RetNetConfig, RetNetCell, Memoroid, "Multi-scale retention")
