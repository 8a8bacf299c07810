"""Cards dealt without replacement.

No shuffled deck is stored: the next card is drawn in proportion to the undealt ones. That gives the same distribution
at a cost that does not grow with the deck. A permutation in `reset` would cost time in every step of every environment,
because an auto-reset is computed whether it is needed or not.
"""

import jax
import jax.numpy as jnp

from memorax.core.types import Array, Key
from memorax.environments.memory.parts.prng import bits

DECK = 52
MOST_DECKS = 2**20
"""Cards are counted in 32 bits."""
COLORS, SUITS, RANKS = 2, 4, 13
"""What a card can be reduced to: color (black, red), suit (spades, diamonds, clubs, hearts), rank (ace to king)."""


def full(decks: int, symbols: int = SUITS) -> Array:
    """Counts of all cards of some decks: of each symbol and the symbols before it (cumulative), int32 `[symbols]`."""
    return decks * DECK // symbols * jnp.arange(1, symbols + 1, dtype=jnp.int32)


def deal(key: Key, left: Array) -> Array:
    """Draw the symbol of the next card.

    Args:
        key: Randomness.
        left: Cumulative counts of undealt cards, as from `full`; if none is left, the result is meaningless.

    Returns:
        Symbol, int32 scalar in `[0, symbols)`.
    """
    return pick(bits(key), left)


def pick(word: Array, left: Array) -> Array:
    """The symbol of an undealt card, all of them equally likely up to a part in a million.

    Args:
        word: Random bits, uint32 scalar.
        left: Cumulative counts of undealt cards, as from `full`; if none is left, the result is meaningless.

    Returns:
        Symbol, int32 scalar in `[0, symbols)`.
    """
    # A remainder is computed once; products would be recomputed by the compiler wherever the card is used.
    card = (word % jnp.maximum(left[-1], 1).astype(jnp.uint32)).astype(jnp.int32)
    return jnp.sum(card >= left[:-1], dtype=jnp.int32)


def take(left: Array, symbol: Array) -> Array:
    """Counts of undealt cards after one with this symbol was dealt, int32 `[symbols]`."""
    return left - (jnp.arange(left.shape[0]) >= symbol)


def remaining(left: Array, symbol: Array) -> Array:
    """Number of undealt cards of a symbol, int32 scalar."""
    each = left - jnp.concatenate([jnp.zeros((1,), left.dtype), left[:-1]])
    return jnp.sum(jnp.where(jnp.arange(left.shape[0]) == symbol, each, 0), dtype=jnp.int32)


def show(symbol: Array, symbols: int = SUITS) -> Array:
    """A card as an observation: one-hot float32 `[symbols]`."""
    return jax.nn.one_hot(symbol, symbols, dtype=jnp.float32)
