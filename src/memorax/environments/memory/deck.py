"""Cards dealt without replacement.

A shuffled deck is never laid out: the next card is drawn in proportion to what is left. That gives the same
distribution, and its cost does not grow with the deck. A permutation in `reset` would be paid in every step of every
environment, because an automatic reset is computed whether it is needed or not.
"""

import jax
import jax.numpy as jnp

from memorax.core.types import Array, Key

DECK = 52
SUITS = 4


def full(decks: int) -> Array:
    """How many cards of each suit there are, int32 `[suits]`."""
    return jnp.full((SUITS,), decks * DECK // SUITS, jnp.int32)


def deal(key: Key, left: Array) -> Array:
    """Draw the suit of the next card.

    Args:
        key: Randomness.
        left: How many cards of each suit are left, int32 `[suits]`, not all zero.

    Returns:
        Suit, int32 scalar in `[0, suits)`.
    """
    total = jnp.sum(left)
    # The index of a card among those left; the minimum guards the last one against rounding up.
    card = jnp.minimum(jnp.floor(jax.random.uniform(key) * total).astype(jnp.int32), total - 1)
    return jnp.sum(card >= jnp.cumsum(left), dtype=jnp.int32)


def take(left: Array, suit: Array) -> Array:
    """What is left after a card of this suit was dealt, int32 `[suits]`."""
    return left - jax.nn.one_hot(suit, SUITS, dtype=jnp.int32)


def show(suit: Array) -> Array:
    """A card face up: one-hot float32 `[suits]`."""
    return jax.nn.one_hot(suit, SUITS, dtype=jnp.float32)
