"""Sums over sums: draws an index in proportion to its weight, in a time that hardly grows with their number.

Every row has a tree of its own, so that rows can live on different devices. A node is the sum of its `FANOUT` children,
computed anew whenever one of them changes: nothing is added to or taken from a sum, so rounding errors do not pile up,
and a subtree is zero exactly where all its weights are. Every step down chooses among `FANOUT` children with random
bits of its own: 24 of them could not tell more than 16 million leaves apart.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import struct

from memorax.core.types import Array, Key

FANOUT = 16
"""A group of float32 children is one cache line."""


@struct.dataclass
class SumTree:
    """Weights and their sums.

    Attributes:
        levels: The weights, then sums of ever more of them, each `[rows, groups, FANOUT]`; the last has one group.
            Weights are float32, or uint8 that are counted in int32.
    """

    levels: tuple[Array, ...]


@struct.dataclass
class Window:
    """Neighboring leaves to change in every row; after the last leaf comes the first.

    Attributes:
        first: Where it begins, `[]`.
        values: The new weights, `[rows, width]`.
        changed: Which of them are to be written, `[width]`.
    """

    first: Array
    values: Array
    changed: Array


def make_tree(rows: int, size: int, dtype: jnp.dtype | type) -> SumTree:
    """Make a tree whose weights are all zero.

    Args:
        rows: How many trees side by side.
        size: Weights of each.
        dtype: Of the weights: float32, or uint8 for zeros and ones.
    """
    groups = -(-size // FANOUT)
    levels = [jnp.zeros((rows, groups, FANOUT), dtype)]
    while groups > 1:
        groups = -(-groups // FANOUT)
        levels.append(jnp.zeros((rows, groups, FANOUT), _wide(dtype)))
    return SumTree(tuple(levels))


def total(tree: SumTree) -> Array:
    """Add up all weights of each row, `[rows]`."""
    return _sum(tree.levels[-1][:, 0])


def get_leaves(tree: SumTree, rows: Array, leaves: Array) -> Array:
    """Read weights, `[batch]`."""
    return tree.levels[0][rows, leaves // FANOUT, leaves % FANOUT]


def set_leaves(tree: SumTree, rows: Array, leaves: Array, values: Array) -> SumTree:
    """Write weights; of several for one leaf the largest counts, on every device.

    Args:
        tree: The weights so far.
        rows: `[batch]`; a row beyond the last changes nothing.
        leaves: `[batch]`.
        values: `[batch]`.
    """
    lowest, *sums = tree.levels
    place = (rows, leaves // FANOUT, leaves % FANOUT)
    # Cleared first: a scatter that writes one place twice has no order, a maximum needs none.
    level = lowest.at[place].set(0, mode="drop").at[place].max(values.astype(lowest.dtype), mode="drop")
    levels, nodes = [level], leaves
    for above in sums:
        nodes = nodes // FANOUT
        value = _sum(level.at[rows, nodes].get(mode="clip"))
        level = above.at[rows, nodes // FANOUT, nodes % FANOUT].set(value, mode="drop")
        levels.append(level)
    return SumTree(tuple(levels))


def set_windows(tree: SumTree, size: int, windows: Sequence[Window]) -> SumTree:
    """Write neighboring weights in all rows; where windows overlap they must agree.

    Args:
        tree: The weights so far.
        size: Weights of each row.
        windows: What to write, each window at most `size` wide.
    """
    level, *sums = tree.levels
    spans = []
    for window in windows:
        width = window.values.shape[1]
        leaves = jnp.where(window.changed, (window.first + jnp.arange(width)) % size, level.shape[1] * FANOUT)
        values = window.values.astype(level.dtype)
        level = level.at[:, leaves // FANOUT, leaves % FANOUT].set(values, mode="drop")
        spans.append((window.first, width))
    levels = [level]
    for above in sums:
        groups = level.shape[1]
        # Neighbors have neighboring parents. A few parents too many do no harm: they get the sum they have.
        spans = [(first // FANOUT, min(groups, _parents(width))) for first, width in spans]
        nodes = jnp.concatenate([(first + jnp.arange(width)) % groups for first, width in spans])
        level = above.at[:, nodes // FANOUT, nodes % FANOUT].set(_sum(level[:, nodes]))
        levels.append(level)
    return SumTree(tuple(levels))


def draw(tree: SumTree, key: Key, batch_size: int) -> tuple[Array, Array]:
    """Draw leaves, independently of each other, in proportion to their weights.

    A leaf of weight zero is never drawn, unless there is no other.

    Args:
        tree: The weights.
        key: Random key.
        batch_size: How many.

    Returns:
        Rows and leaves, each `[batch_size]`, int32; meaningless where all weights are zero.
    """
    above = _over_rows(total(tree))
    keys = jax.random.split(key, len(above) + len(tree.levels))
    row = node = jnp.zeros(batch_size, jnp.int32)
    for level, level_key in zip(reversed(above), keys, strict=False):
        row = row * FANOUT + _choose(level_key, level[row])
    for level, level_key in zip(reversed(tree.levels), keys[len(above) :], strict=True):
        node = node * FANOUT + _choose(level_key, level[row, node])
    return row, node


def _over_rows(weights: Array) -> list[Array]:
    """Sum the totals of the rows as a tree would, `[groups, FANOUT]` each; nothing for a single row."""
    levels = []
    while weights.shape[0] > 1:
        weights = jnp.pad(weights, (0, -weights.shape[0] % FANOUT)).reshape(-1, FANOUT)
        levels.append(weights)
        weights = _sum(weights)
    return levels


def _choose(key: Key, weights: Array) -> Array:
    """Choose one of `FANOUT` children, `[batch]`, by their weights, `[batch, FANOUT]`."""
    sums = [weights[:, 0].astype(_wide(weights.dtype))]
    for i in range(1, FANOUT):  # one after the other: so a weight of zero cannot move a sum by rounding
        sums.append(sums[-1] + weights[:, i])
    whole = sums[-1]
    if jnp.issubdtype(whole.dtype, jnp.integer):
        threshold = jax.random.randint(key, whole.shape, 0, jnp.maximum(whole, 1))
    else:
        threshold = jax.random.uniform(key, whole.shape, whole.dtype) * whole
    passed = sum((running <= threshold).astype(jnp.int32) for running in sums[:-1])
    return jnp.asarray(passed, jnp.int32)


def _parents(width: int) -> int:
    """Bound how many parents so many neighboring nodes have, which may go on from the last node to the first."""
    return 1 if width == 1 else (width - 1) // FANOUT + 3


def _sum(groups: Array) -> Array:
    return jnp.sum(groups, axis=-1, dtype=_wide(groups.dtype))


def _wide(dtype: jnp.dtype | type) -> jnp.dtype | type:
    return jnp.int32 if jnp.issubdtype(dtype, jnp.integer) else dtype
