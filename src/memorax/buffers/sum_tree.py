"""Sum tree: samples indices in proportion to their weights, in logarithmic time.

Every row has its own tree, so that rows can be placed on different devices. A node is the sum of its `FANOUT` children
and is recomputed whenever one of them changes, never updated by differences: rounding errors do not accumulate, and a
subtree is zero exactly if all its weights are. Every level of the descent chooses among `FANOUT` children with random
bits of its own, because the 24 bits of a single float32 could not distinguish more than 16 million leaves.

Source:
    Schaul et al. 2015, "Prioritized Experience Replay", https://arxiv.org/abs/1511.05952, appendix B.2.1.
"""

import functools
import operator
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import struct

from memorax.core.types import Array, Key

FANOUT = 16
"""Children per node: sixteen float32 weights fill one cache line."""


@struct.dataclass
class SumTree:
    """Weights and their sums.

    Attributes:
        levels: The levels of the tree from the leaves to the root, each `[rows, groups, FANOUT]`; the last has one
            group. Weights are float32, or uint8 with sums in int32.
    """

    levels: tuple[Array, ...]


@struct.dataclass
class Window:
    """A range of neighboring leaves to write in every row, which may wrap around from the last leaf to the first.

    Attributes:
        first: Index of the first leaf, `[]`.
        values: New weights, `[rows, width]`.
        changed: Which of the weights to write, `[width]`.
    """

    first: Array
    values: Array
    changed: Array


def make_tree(rows: int, size: int, dtype: jnp.dtype | type) -> SumTree:
    """Make a tree whose weights are all zero.

    Args:
        rows: Number of independent trees.
        size: Number of weights in each.
        dtype: Dtype of the weights: float32, or uint8 for zeros and ones.
    """
    groups = -(-size // FANOUT)
    levels = [jnp.zeros((rows, groups, FANOUT), dtype)]
    while groups > 1:
        groups = -(-groups // FANOUT)
        levels.append(jnp.zeros((rows, groups, FANOUT), _wide(dtype)))
    return SumTree(tuple(levels))


def total(tree: SumTree) -> Array:
    """Sum of all weights of each row, `[rows]`."""
    return _sum(tree.levels[-1][:, 0])


def get_leaves(tree: SumTree, rows: Array, leaves: Array) -> Array:
    """Read weights, `[batch]`."""
    return tree.levels[0][rows, leaves // FANOUT, leaves % FANOUT]


def set_leaves(tree: SumTree, rows: Array, leaves: Array, values: Array) -> SumTree:
    """Write weights; if one leaf is written several times, the largest weight counts, on every kind of device.

    Args:
        tree: The current weights.
        rows: Row of each weight, `[batch]`; a row beyond the last is ignored.
        leaves: Leaf of each weight, `[batch]`.
        values: New weights, `[batch]`.
    """
    lowest, *sums = tree.levels
    place = (rows, leaves // FANOUT, leaves % FANOUT)
    # Cleared first: a scatter that writes one element twice has no defined order, a maximum needs none.
    level = lowest.at[place].set(0, mode="drop").at[place].max(values.astype(lowest.dtype), mode="drop")
    levels, nodes = [level], leaves
    for above in sums:
        nodes = nodes // FANOUT
        value = _sum(level.at[rows, nodes].get(mode="clip"))
        level = above.at[rows, nodes // FANOUT, nodes % FANOUT].set(value, mode="drop")
        levels.append(level)
    return SumTree(tuple(levels))


def set_windows(tree: SumTree, size: int, windows: Sequence[Window]) -> SumTree:
    """Write ranges of neighboring weights in all rows; where windows overlap, they must agree.

    Args:
        tree: The current weights.
        size: Number of weights in each row.
        windows: Weights to write, each window at most `size` wide.
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
        # Neighbors have neighboring parents. Recomputing a few parents too many does not change their sums.
        spans = [(first // FANOUT, min(groups, _parents(width))) for first, width in spans]
        nodes = jnp.concatenate([(first + jnp.arange(width)) % groups for first, width in spans])
        level = above.at[:, nodes // FANOUT, nodes % FANOUT].set(_sum(level[:, nodes]))
        levels.append(level)
    return SumTree(tuple(levels))


def draw(tree: SumTree, key: Key, batch_size: int) -> tuple[Array, Array]:
    """Sample leaves independently of each other, in proportion to their weights.

    A leaf of weight zero is never sampled, unless all weights are zero.

    Args:
        tree: The weights.
        key: Random key.
        batch_size: Number of samples.

    Returns:
        Rows and leaves, each int32 `[batch_size]`; meaningless if all weights are zero.
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
    """Build the levels of a tree over the totals of the rows, `[groups, FANOUT]` each; none for a single row."""
    levels = []
    while weights.shape[0] > 1:
        weights = jnp.pad(weights, (0, -weights.shape[0] % FANOUT)).reshape(-1, FANOUT)
        levels.append(weights)
        weights = _sum(weights)
    return levels


def _choose(bits: Array, weights: Array) -> Array:
    """Choose one of `FANOUT` children, `[batch]`, by random bits, `[batch]`, and their weights, `[batch, FANOUT]`."""
    sums = [weights[:, 0].astype(_wide(weights.dtype))]
    for i in range(1, FANOUT):  # sequentially, so that a weight of zero cannot change a sum by rounding
        sums.append(sums[-1] + weights[:, i])
    threshold = _below(bits, sums[-1])
    # The threshold is below the last sum, so that is never passed; if all are zero, the last child is chosen.
    passed = [(running <= threshold).astype(jnp.int32) for running in sums[:-1]]
    return functools.reduce(operator.add, passed)


def _below(bits: Array, whole: Array) -> Array:
    """Scale random bits uniformly to the range from zero (included) to `whole` (excluded)."""
    if jnp.issubdtype(whole.dtype, jnp.floating):
        return (bits >> 9).astype(whole.dtype) * 2.0**-23 * whole
    # The upper 32 bits of the product, by long multiplication, because 64-bit integers may be disabled.
    whole, half = whole.astype(jnp.uint32), jnp.uint32(0xFFFF)
    middle = (bits >> 16) * (whole & half) + ((bits & half) * (whole & half) >> 16)
    other = (bits & half) * (whole >> 16) + (middle & half)
    return ((bits >> 16) * (whole >> 16) + (middle >> 16) + (other >> 16)).astype(jnp.int32)


def _parents(width: int) -> int:
    """Upper bound on the number of parents of `width` neighboring nodes, which may wrap around."""
    return 1 if width == 1 else (width - 1) // FANOUT + 3


def _sum(groups: Array) -> Array:
    return jnp.sum(groups, axis=-1, dtype=_wide(groups.dtype))


def _wide(dtype: jnp.dtype | type) -> jnp.dtype | type:
    return jnp.int32 if jnp.issubdtype(dtype, jnp.integer) else dtype
