"""Random parts of a rollout."""

import jax

from memorax.core.types import Array, Key, PyTree


def as_single_steps(batch: PyTree) -> PyTree:
    """Cut sequences into sequences of one step, for networks without memory: `[batch, time]` to `[batch * time, 1]`."""
    return jax.tree.map(lambda x: x.reshape(-1, 1, *x.shape[2:]), batch)


def minibatch_indices(key: Key, size: int, num_minibatches: int) -> Array:
    """Deal `0 .. size - 1` at random to minibatches, each number once.

    Args:
        key: Random key.
        size: How many sequences there are.
        num_minibatches: Divides `size`.

    Returns:
        `[num_minibatches, size / num_minibatches]`.
    """
    return jax.random.permutation(key, size).reshape(num_minibatches, -1)


def take(batch: PyTree, indices: Array) -> PyTree:
    """Pick sequences along the first axis of every leaf."""
    return jax.tree.map(lambda x: x.take(indices, axis=0), batch)
