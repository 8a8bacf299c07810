"""Cards dealt without replacement.

A shuffled deck is never laid out: the next card is drawn in proportion to what is left. That gives the same
distribution, and its cost does not grow with the deck. A permutation in `reset` would be paid in every step of every
environment, because an automatic reset is computed whether it is needed or not.
"""

import jax
import jax.numpy as jnp

from memorax.core.types import Array, Key
from memorax.environments.memory.chance import bits

DECK = 52
COLORS, SUITS, RANKS = 2, 4, 13
"""What may count of a card: color (black, red), suit (spades, diamonds, clubs, hearts), rank (ace to king)."""


def full(decks: int, symbols: int = SUITS) -> Array:
    """All cards of some decks: how many there are of each symbol and the symbols before it, int32 `[symbols]`."""
    return decks * DECK // symbols * jnp.arange(1, symbols + 1, dtype=jnp.int32)


def deal(key: Key, left: Array) -> Array:
    """Draw the symbol of the next card.

    Args:
        key: Randomness.
        left: What is left, as of `full`. Where nothing is, the result means nothing.

    Returns:
        Symbol, int32 scalar in `[0, symbols)`.
    """
    return pick(bits(key), left)


def pick(word: Array, left: Array) -> Array:
    """The symbol of one of the cards that are left, all of them equally likely but for a part in a million.

    Args:
        word: Random bits, uint32 scalar.
        left: What is left, as of `full`. Where nothing is, the result means nothing.

    Returns:
        Symbol, int32 scalar in `[0, symbols)`.
    """
    # The compiler keeps a remainder, and does not compute it again wherever the card is used, as it does with products.
    card = (word % jnp.maximum(left[-1], 1).astype(jnp.uint32)).astype(jnp.int32)
    return jnp.sum(card >= left[:-1], dtype=jnp.int32)


def take(left: Array, symbol: Array) -> Array:
    """What is left after a card with this symbol was dealt, int32 `[symbols]`."""
    return left - (jnp.arange(left.shape[0]) >= symbol)


def remaining(left: Array, symbol: Array) -> Array:
    """How many cards of a symbol are left, int32 scalar."""
    each = left - jnp.concatenate([jnp.zeros((1,), left.dtype), left[:-1]])
    return jnp.sum(jnp.where(jnp.arange(left.shape[0]) == symbol, each, 0), dtype=jnp.int32)


def show(symbol: Array, symbols: int = SUITS) -> Array:
    """A card face up: one-hot float32 `[symbols]`."""
    return jax.nn.one_hot(symbol, symbols, dtype=jnp.float32)
