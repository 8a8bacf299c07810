"""Self-attention over a sliding window."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from memorax.core.checks import check, check_fields, choice, divides, floating, optional, size
from memorax.core.types import Array, Carry, Key
from memorax.kernels.attention import Cache, empty_cache, episode_steps, place, slot_steps, window_attention
from memorax.networks.positional_embeddings import POSITIONAL_EMBEDDINGS, RoPE
from memorax.networks.sequence_models.parts.base import check_sequence
from memorax.networks.sequence_models.parts.cell import ConfiguredModule, configured_by
from memorax.networks.sequence_models.parts.synonyms import torso


@dataclasses.dataclass(frozen=True)
class SelfAttentionConfig:
    """Sizes of `SelfAttention`."""

    features: int | None = None
    """Width of the output; None: `num_heads * head_dim` where that is given, else 64."""
    num_heads: int = 4
    """Number of attention heads."""
    head_dim: int | None = None
    """Width of a head's queries, keys and values; None: `features / num_heads`."""
    context_length: int = 128
    """Number of steps of its episode that a step attends to, itself included."""
    positional_embedding: str | None = "rope"
    """"rope", "alibi", "learned" (since the episode's start), "relative" (Transformer-XL), or None."""
    dtype: Any = None
    """Type of projections and outputs; None: that of the inputs. Softmax is in float32 at least."""

    def __post_init__(self) -> None:
        """Check the fields, and fill in `features`.

        Raises:
            TypeError: If a size is not an integer.
            ValueError: If a size is below 1 or odd, heads do not divide the features, or a name is unknown.
        """
        check_fields(self, num_heads=size(), context_length=size(), head_dim=optional(size()))
        if self.features is None:
            object.__setattr__(self, "features", 64 if self.head_dim is None else self.num_heads * self.head_dim)
        check_fields(self, features=size(), dtype=optional(floating()))
        if self.head_dim is None:
            divides(("num_heads", self.num_heads), ("features", self.width), "heads without `head_dim`")
        check_fields(self, positional_embedding=optional(choice(*(x for x in POSITIONAL_EMBEDDINGS if x is not None))))
        if self.positional_embedding == "rope":
            RoPE().keys(self.dim)

    @property
    def width(self) -> int:
        """Width of the output: `features`, which is never None after construction."""
        return self.features or 0

    @property
    def dim(self) -> int:
        """Width of a head."""
        return self.head_dim or self.width // self.num_heads


class SelfAttention(ConfiguredModule):
    """Multi-head self-attention over the last `context_length` steps of the episode; a sequence model by itself.

    `q, k, v = W_q x, W_k x, W_v x` in every head, `o_i = sum_j softmax_j(q_i . k_j / sqrt(dim) + position) v_j` over
    the steps `i - context_length < j <= i` of the same episode, `y = W_o o`; no biases. Rollouts, step by step,
    and training on sequences of any length attend to the same steps. The carry holds keys and values
    `[batch, num_heads, context_length, dim]` and the number of steps since the episode's start.

    Differs from the paper: a window instead of the whole past, and positions as `positional_embedding` says.

    Attributes:
        config: The hyper-parameters. The constructor takes them whole, or by field: see `SelfAttentionConfig`.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> attention = SelfAttention(num_heads=2, head_dim=4, context_length=3)
        >>> inputs, done = jnp.zeros((2, 5, 6)), jnp.zeros((2, 5), bool)
        >>> (carry, outputs), _ = attention.init_with_output(jax.random.key(0), inputs, done)
        >>> outputs.shape
        (2, 5, 8)

    Source:
        Vaswani et al. 2017, "Attention Is All You Need", https://arxiv.org/abs/1706.03762
    """

    config: SelfAttentionConfig = SelfAttentionConfig()

    @configured_by(SelfAttentionConfig)
    def __init__(self) -> None: ...

    def setup(self) -> None:
        """Make the projections."""
        config = self.config
        heads = (config.num_heads, config.dim)
        self.query = nn.DenseGeneral(heads, use_bias=False, dtype=config.dtype)
        self.key = nn.DenseGeneral(heads, use_bias=False, dtype=config.dtype)
        self.value = nn.DenseGeneral(heads, use_bias=False, dtype=config.dtype)
        self.output = nn.DenseGeneral(config.width, axis=(-2, -1), use_bias=False, dtype=config.dtype)
        self.position = POSITIONAL_EMBEDDINGS[config.positional_embedding]()

    @nn.nowrap
    def initialize_carry(self, key: Key, input_shape: tuple[int, ...]) -> Cache:
        """Give the cache before an episode's first step.

        Args:
            key: Not used.
            input_shape: `(batch, features)`; `features` is not used.

        Returns:
            An empty cache of `context_length` steps.
        """
        del key
        return empty_cache(input_shape[0], self.config.num_heads, self.config.context_length, self.config.dim)

    def __call__(self, inputs: Array, done: Array, initial_carry: Carry = None) -> tuple[Cache, Array]:
        """Attend.

        Args:
            inputs: `[batch, time, features]`.
            done: True where the memory is reset before the step, `[batch, time]`.
            initial_carry: The cache before the first step; None: an empty one. It may have any number of slots: they
                are the window.

        Returns:
            The cache after the last step, and the outputs `[batch, time, features]`.

        Raises:
            ValueError: If the shapes do not fit.
        """
        check_sequence(inputs, done)
        cache = self.initialize_carry(jax.random.key(0), inputs.shape) if initial_carry is None else initial_carry
        embedded = self.position.embed(inputs, episode_steps(done, cache.steps))
        queries, positions = self.position(self.query(embedded), cache.keys.shape[2])
        cache, mixed = window_attention(queries, self.key(embedded), self.value(embedded), done, cache, positions)
        return cache, self.output(mixed)

    def rebuild_cache(self, inputs: Array, count: Array) -> Cache:
        """Compute the cache of keys and values from the inputs of the steps that it holds.

        Args:
            inputs: `[batch, window, features]`; that of the episode's step `p` in slot `p % window`.
            count: Steps of the running episode so far, `[batch]`.

        Returns:
            A cache of `window` slots.
        """
        window = inputs.shape[1]
        embedded = self.position.embed(inputs, slot_steps(count, window))
        keys, values = (project(embedded).swapaxes(1, 2) for project in (self.key, self.value))
        keys = place(keys, np.arange(window), self.position.keys(self.config.dim))
        return Cache(keys.astype(jnp.float32), values.astype(jnp.float32), count)


@torso(SelfAttentionConfig, features=64, head_dim=None)
def Attention(features: int, **options: Any) -> SelfAttention:  # noqa: N802 (reads as the class it stands for)
    """Self-attention as a torso of a given width.

    Args:
        features: Width of the output; `hidden_dim` is a second name of it.
        head_dim: Width of a head; None: `features / num_heads`, rounded up to an even number.
        **options: Further fields of `SelfAttentionConfig`.

    Returns:
        A sequence model.

    Raises:
        TypeError: If an argument is unknown or of another type.
        ValueError: If an argument is out of range.

    Source:
        Vaswani et al. 2017, "Attention Is All You Need", https://arxiv.org/abs/1706.03762
    """
    if "head_dim" not in options:
        heads = check("num_heads", options.get("num_heads", 4), size())
        options["head_dim"] = -(-features // (2 * heads)) * 2
    return SelfAttention(SelfAttentionConfig(features=features, **options))
