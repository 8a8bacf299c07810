"""Sums over sums: draws an index in proportion to its weight, in a time that hardly grows with their number.

Every row has a tree of its own, so that rows can live on different devices. A node is the sum of its `FANOUT` children,
computed anew whenever one of them changes: nothing is added to or taken from a sum, so rounding errors do not pile up,
and a subtree is zero exactly where all its weights are. Every step down chooses among `FANOUT` children with random
bits of its own: 24 of them could not tell more than 16 million leaves apart.
"""

import functools
import operator
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
    lowest, *sums = tree.levels
    spans = [(window.first, window.values.shape[1]) for window in windows]
    leaves = jnp.concatenate([(first + jnp.arange(width)) % size for first, width in spans])
    leaves = jnp.where(jnp.concatenate([window.changed for window in windows]), leaves, lowest.shape[1] * FANOUT)
    values = jnp.concatenate([window.values for window in windows], axis=1).astype(lowest.dtype)
    level = lowest.at[:, leaves // FANOUT, leaves % FANOUT].set(values, mode="drop")
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
    bits = iter(jax.random.bits(key, (len(above) + len(tree.levels), batch_size), jnp.uint32))
    row = node = jnp.zeros(batch_size, jnp.int32)
    for level in reversed(above):
        row = row * FANOUT + _choose(next(bits), level.at[row].get(mode="clip"))
    for level in reversed(tree.levels):
        node = node * FANOUT + _choose(next(bits), level.at[row, node].get(mode="clip"))
    return row, node


def _over_rows(weights: Array) -> list[Array]:
    """Sum the totals of the rows as a tree would, `[groups, FANOUT]` each; nothing for a single row."""
    levels = []
    while weights.shape[0] > 1:
        weights = jnp.pad(weights, (0, -weights.shape[0] % FANOUT)).reshape(-1, FANOUT)
        levels.append(weights)
        weights = _sum(weights)
    return levels


def _choose(bits: Array, weights: Array) -> Array:
    """Choose one of `FANOUT` children, `[batch]`, by random bits, `[batch]`, and their weights, `[batch, FANOUT]`."""
    sums = [weights[:, 0].astype(_wide(weights.dtype))]
    for i in range(1, FANOUT):  # one after the other: so a weight of zero cannot move a sum by rounding
        sums.append(sums[-1] + weights[:, i])
    threshold = _below(bits, sums[-1])
    # The last sum is never passed, for the threshold lies below it; if all are zero, the last child is chosen.
    passed = [(running <= threshold).astype(jnp.int32) for running in sums[:-1]]
    return functools.reduce(operator.add, passed)


def _below(bits: Array, whole: Array) -> Array:
    """Spread random bits evenly over what is at least zero and less than the whole."""
    if jnp.issubdtype(whole.dtype, jnp.floating):
        return (bits >> 9).astype(whole.dtype) * 2.0**-23 * whole
    # The upper half of their product, as of school: 64-bit integers need not be there.
    whole, half = whole.astype(jnp.uint32), jnp.uint32(0xFFFF)
    middle = (bits >> 16) * (whole & half) + ((bits & half) * (whole & half) >> 16)
    other = (bits & half) * (whole >> 16) + (middle & half)
    return ((bits >> 16) * (whole >> 16) + (middle >> 16) + (other >> 16)).astype(jnp.int32)


def _parents(width: int) -> int:
    """Bound how many parents so many neighboring nodes have, which may go on from the last node to the first."""
    return 1 if width == 1 else (width - 1) // FANOUT + 3


def _sum(groups: Array) -> Array:
    return jnp.sum(groups, axis=-1, dtype=_wide(groups.dtype))


def _wide(dtype: jnp.dtype | type) -> jnp.dtype | type:
    return jnp.int32 if jnp.issubdtype(dtype, jnp.integer) else dtype
