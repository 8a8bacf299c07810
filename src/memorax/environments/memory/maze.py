"""Mazes made by hunt and kill, with shapes that do not depend on the maze."""

import jax
import jax.numpy as jnp

from memorax.core.types import Array, Key
from memorax.environments.memory.bitboard import at, count, lower, nth, put
from memorax.environments.memory.chance import below, split, uniform

Walk = tuple[Array, Array, Array, Array, Array]
"""Visited cells, passages to the right, passages down (each int32 `[side]`, rows of bits), row, column."""


def carve(key: Key, side: int) -> Array:
    """Make a maze in which exactly one path joins any two cells.

    Walk from cell to random unvisited neighbor until there is none; then go on from any visited cell that has one, all
    of them equally likely; until every cell was visited.

    Args:
        key: Randomness.
        side: Cells a side, at least 2.

    Returns:
        What is open, rows of bits, int32 `[2 side + 1]`: cells lie at odd rows and columns, passages between them.
    """
    start_key, walk_key = split(key)
    row, column = below(start_key, side, (2,))
    closed = jnp.zeros((side,), jnp.int32)
    # One random number a cell serves both choices: what is left of it after the first is as random as before.
    shares = uniform(walk_key, (side * side - 1,))
    walk = (put(closed, row, column), closed, closed, row, column)
    (visited, right, down, _, _), _ = jax.lax.scan(lambda walk, share: (_dig(walk, share, side), None), walk, shares)
    return _draw(visited, right, down, side)


def _dig(walk: Walk, share: Array, side: int) -> Walk:
    """Visit one more cell."""
    visited, right, down, row, column = walk
    inside = (1 << side) - 1
    unvisited = inside & ~visited
    beside = (unvisited << 1) | (unvisited >> 1) | lower(unvisited, 1) | lower(unvisited, -1)
    edge = visited & beside
    stuck = ~at(edge, row, column)
    scaled = share * jnp.where(stuck, count(edge), 1)
    whole = jnp.floor(scaled).astype(jnp.int32)
    row, column = (jnp.where(stuck, new, old) for new, old in zip(nth(edge, whole, side), (row, column), strict=True))
    ways = jnp.stack(
        [
            at(unvisited, row - 1, column),
            at(unvisited, row + 1, column),
            at(unvisited, row, column - 1),
            at(unvisited, row, column + 1),
        ]
    )
    along = 1 << jnp.arange(4)
    options = jnp.sum(jnp.where(ways, along, 0), dtype=jnp.int32)[None]
    choice = jnp.floor((scaled - whole) * count(options)).astype(jnp.int32)
    _, way = nth(options, choice, 4)
    down_by, right_by = (way == 1).astype(jnp.int32) - (way == 0), (way == 3).astype(jnp.int32) - (way == 2)
    new_row, new_column = row + down_by, column + right_by
    corner_row, corner_column = jnp.minimum(row, new_row), jnp.minimum(column, new_column)
    right = jnp.where(way >= 2, put(right, corner_row, corner_column), right)
    down = jnp.where(way < 2, put(down, corner_row, corner_column), down)
    return put(visited, new_row, new_column), right, down, new_row, new_column


def _draw(cells: Array, right: Array, down: Array, side: int) -> Array:
    """Lay cells and passages out with walls between them."""

    def spread(bits: Array, offset: int) -> Array:
        columns = jnp.arange(side)
        return jnp.sum(((bits[:, None] >> columns) & 1) << (2 * columns + offset), axis=1, dtype=jnp.int32)

    rows = jnp.stack([spread(cells, 1) | spread(right, 2), spread(down, 1)], axis=1)
    return jnp.concatenate([jnp.zeros((1,), jnp.int32), rows.reshape(-1)])


def entrances(key: Key, side: int) -> tuple[Array, Array]:
    """Draw two places in opposite outer walls, each in front of a cell.

    Args:
        key: Randomness.
        side: Cells a side.

    Returns:
        Row and column of both, int32 `[2]` each.
    """
    where_key, wall_key = split(key)
    first, second = 2 * below(where_key, side, (2,)) + 1
    wall = below(wall_key, 4)
    near = jnp.where(wall % 2 == 0, 0, 2 * side)
    upright = wall < 2
    here, there = jnp.stack([near, first]), jnp.stack([2 * side - near, second])
    return jnp.where(upright, here, here[::-1]), jnp.where(upright, there, there[::-1])
