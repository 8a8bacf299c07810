"""Cards dealt without replacement.

A shuffled deck is never laid out: the next card is drawn in proportion to what is left. That gives the same
distribution, and its cost does not grow with the deck. A permutation in `reset` would be paid in every step of every
environment, because an automatic reset is computed whether it is needed or not.
"""

import jax
import jax.numpy as jnp

from memorax.core.types import Array, Key

DECK = 52
COLORS, SUITS, RANKS = 2, 4, 13
"""What may count of a card: color (black, red), suit (spades, diamonds, clubs, hearts), rank (ace to king)."""


def full(decks: int, symbols: int = SUITS) -> Array:
    """How many cards of each symbol there are, int32 `[symbols]`."""
    return jnp.full((symbols,), decks * DECK // symbols, jnp.int32)


def deal(key: Key, left: Array) -> Array:
    """Draw the symbol of the next card.

    Args:
        key: Randomness.
        left: How many cards of each symbol are left, int32 `[symbols]`. Where none are left, the result is 0.

    Returns:
        Symbol, int32 scalar in `[0, symbols)`.
    """
    return pick(jax.random.uniform(key), left)


def pick(share: Array, left: Array) -> Array:
    """The symbol of the card that lies at a share of the way through what is left.

    Args:
        share: In [0, 1), float32 scalar.
        left: How many cards of each symbol are left, int32 `[symbols]`. Where none are left, the result is 0.

    Returns:
        Symbol, int32 scalar in `[0, symbols)`.
    """
    total, ends = jnp.zeros((), jnp.int32), []
    # Spelled out: a running sum of a dozen numbers is slow where it is compiled as a scan.
    for i in range(left.shape[0]):
        total = total + left[i]
        ends.append(total)
    # The index of a card among those left; the minimum guards the last one against rounding up.
    card = jnp.minimum(jnp.floor(share * total).astype(jnp.int32), total - 1)
    symbol = jnp.zeros((), jnp.int32)
    for end in ends:
        symbol = symbol + (card >= end)
    return symbol


def take(left: Array, symbol: Array) -> Array:
    """What is left after a card with this symbol was dealt, int32 `[symbols]`."""
    return left - jax.nn.one_hot(symbol, left.shape[0], dtype=jnp.int32)


def show(symbol: Array, symbols: int = SUITS) -> Array:
    """A card face up: one-hot float32 `[symbols]`."""
    return jax.nn.one_hot(symbol, symbols, dtype=jnp.float32)
