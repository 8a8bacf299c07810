"""Boards as rows of bits.

Generating a board costs time in every step of every environment, because an auto-reset is computed whether it is needed
or not. With one integer per row, "all free places for a ship" is a few shifts, and a board a few numbers to select
between. Column 0 is the lowest bit; there are at most 30 columns.
"""

import jax
import jax.numpy as jnp

from memorax.core.types import Array


def pack(board: Array) -> Array:
    """A board of booleans `[rows, columns]` as bits, int32 `[rows]`."""
    board = jnp.asarray(board).astype(jnp.int32)
    return jnp.sum(board << jnp.arange(board.shape[1])[None], axis=1, dtype=jnp.int32)


def unpack(rows: Array, columns: int) -> Array:
    """Bits `[rows]` as a board of booleans `[rows, columns]`."""
    return ((rows[:, None] >> jnp.arange(columns)[None]) & 1).astype(bool)


def count(rows: Array) -> Array:
    """How many bits are set, int32 scalar."""
    return jnp.sum(jax.lax.population_count(rows), dtype=jnp.int32)


def at(rows: Array, row: Array, column: Array) -> Array:
    """Whether a bit is set, bool scalar; outside the board none is."""
    return ((_row(rows, row) << 1) >> (column + 1)) & 1 == 1


def put(rows: Array, row: Array, column: Array) -> Array:
    """The board with a bit set."""
    return rows | jnp.where(jnp.arange(rows.shape[0]) == row, jnp.left_shift(1, column), 0)


def shift_rows(rows: Array, by: int) -> Array:
    """The board with rows shifted towards the first by `by`, filled with empty rows; negative shifts the other way."""
    empty = jnp.zeros((abs(by),), rows.dtype)
    return jnp.concatenate([rows[by:], empty] if by > 0 else [empty, rows[:by]])


def nth(rows: Array, k: Array, columns: int) -> tuple[Array, Array]:
    """Find the k-th bit that is set, row by row.

    Args:
        rows: Board, int32 `[rows]`.
        k: Which one, from 0, int32 scalar; too large a number means the last.
        columns: How many columns the board has.

    Returns:
        Row and column, int32 scalars.
    """
    counts = jax.lax.population_count(rows)
    k = jnp.minimum(k, jnp.sum(counts, dtype=jnp.int32) - 1)
    row = before = ends = jnp.zeros((), jnp.int32)
    # Unrolled: a cumulative sum of a dozen numbers is slow where it is compiled as a scan.
    for i in range(rows.shape[0]):
        ends = ends + counts[i]
        row, before = row + (k >= ends), jnp.where(k >= ends, ends, before)
    passed = jnp.left_shift(2, jnp.arange(columns)) - 1
    inside = jax.lax.population_count(_row(rows, row) & passed)
    return row, jnp.sum(inside <= k - before, dtype=jnp.int32)


def _row(rows: Array, row: Array) -> Array:
    return jnp.sum(jnp.where(jnp.arange(rows.shape[0]) == row, rows, 0), dtype=jnp.int32)
