"""Distributions over discrete actions: one, or several at once."""

import operator
from collections.abc import Sequence
from functools import reduce
from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import struct

from memorax.core.types import Array, Key


@struct.dataclass
class Categorical:
    """One of finitely many actions.

    A masked action has probability exactly 0. Where every action of a row is masked, the row is uniform and passes no
    gradient.

    Attributes:
        logits: Unnormalized log-probabilities, `[..., actions]`.
        mask: True where an action is allowed, `[..., actions]`; None allows all.
    """

    logits: Array
    mask: Array | None = None
    bounded: ClassVar[bool] = False

    @property
    def log_probabilities(self) -> Array:
        """Normalized log-probabilities, `[..., actions]`; finite, though very negative, for masked actions."""
        return jax.nn.log_softmax(self._masked_logits(), axis=-1)

    @property
    def probabilities(self) -> Array:
        """Probabilities, `[..., actions]`."""
        return jax.nn.softmax(self._masked_logits(), axis=-1)

    def sample(self, key: Key) -> Array:
        """Draw actions, int32 `[...]`."""
        return jax.random.categorical(key, self._masked_logits(), axis=-1).astype(jnp.int32)

    def log_prob(self, action: Array) -> Array:
        """Log-probability of integer actions `[...]`, in nats."""
        index = jnp.asarray(action, jnp.int32)[..., None]
        return jnp.take_along_axis(self.log_probabilities, index, axis=-1)[..., 0]

    def sample_and_log_prob(self, key: Key) -> tuple[Array, Array]:
        """Draw actions and give their log-probabilities, both `[...]`."""
        action = self.sample(key)
        return action, self.log_prob(action)

    def entropy(self) -> Array:
        """Entropy `[...]`, in nats."""
        log_probabilities = self.log_probabilities
        possible = self.probabilities > 0
        if self.mask is not None:
            possible = possible & self.mask.astype(bool)
        # Selected before the product: 0 * -inf would be NaN, in the gradient too.
        return -jnp.sum(self.probabilities * jnp.where(possible, log_probabilities, 0.0), axis=-1)

    def mode(self) -> Array:
        """The most probable action, int32 `[...]`."""
        return jnp.argmax(self._masked_logits(), axis=-1).astype(jnp.int32)

    def _masked_logits(self) -> Array:
        if self.mask is None:
            return self.logits
        allowed = self.mask.astype(bool)
        masked = jnp.where(allowed, self.logits, jnp.finfo(self.logits.dtype).min)
        # Next to logits that low, the noise that samples would be rounded away.
        return jnp.where(jnp.any(allowed, axis=-1, keepdims=True), masked, jnp.zeros_like(masked))


@struct.dataclass
class MultiCategorical:
    """Several independent discrete actions at once; the last axis of an action is one event.

    Where every choice of an entry is masked, that entry is uniform and passes no gradient.

    Attributes:
        logits: Unnormalized log-probabilities, those of the entries side by side, `[..., sum(nvec)]`.
        mask: True where a choice is allowed, likewise; None allows all.
        nvec: How many choices each entry has.
    """

    logits: Array
    mask: Array | None = None
    nvec: tuple[int, ...] = struct.field(pytree_node=False, default=())
    bounded: ClassVar[bool] = False

    def entries(self) -> list[Categorical]:
        """The distribution of each entry."""
        ends = [sum(self.nvec[: i + 1]) for i in range(len(self.nvec))]
        parts = [slice(end - n, end) for end, n in zip(ends, self.nvec, strict=True)]
        return [Categorical(self.logits[..., x], None if self.mask is None else self.mask[..., x]) for x in parts]

    def sample(self, key: Key) -> Array:
        """Draw actions, int32 `[..., entries]`."""
        keys = jax.random.split(key, len(self.nvec))
        return jnp.stack([entry.sample(k) for entry, k in zip(self.entries(), keys, strict=True)], axis=-1)

    def log_prob(self, action: Array) -> Array:
        """Log-probability of integer actions `[..., entries]`, in nats, summed over the entries."""
        return total([entry.log_prob(action[..., i]) for i, entry in enumerate(self.entries())])

    def sample_and_log_prob(self, key: Key) -> tuple[Array, Array]:
        """Draw actions `[..., entries]` and give their log-probabilities `[...]`."""
        action = self.sample(key)
        return action, self.log_prob(action)

    def entropy(self) -> Array:
        """Entropy `[...]`, in nats: the sum of those of the entries."""
        return total([entry.entropy() for entry in self.entries()])

    def mode(self) -> Array:
        """The most probable action, int32 `[..., entries]`."""
        return jnp.stack([entry.mode() for entry in self.entries()], axis=-1)


def total(arrays: Sequence[Array]) -> Array:
    """Add arrays in their own type."""
    return reduce(operator.add, arrays)
