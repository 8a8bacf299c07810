"""Epochs and random minibatches of a rollout."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from memorax.core.devices import split_rows
from memorax.core.types import Array, Carry, Key, PyTree
from memorax.learning.dropout import dropout
from memorax.learning.shuffle import shuffled
from memorax.objectives import weighted_mean


def as_single_steps(batch: PyTree) -> PyTree:
    """Split sequences into single steps, for networks without memory: `[batch, time]` to `[batch * time, 1]`."""
    return jax.tree.map(lambda x: x.reshape(x.shape[0] * x.shape[1], 1, *x.shape[2:]), batch)


def as_chunks(batch: PyTree, length: int) -> PyTree:
    """Split sequences into chunks, each with the first step of the next chunk as its last.

    Args:
        batch: `[batch, time + 1, ...]`.
        length: Divides `time`.

    Returns:
        `[batch * time / length, length + 1, ...]`.
    """

    def split(x: Array) -> Array:
        starts = jnp.arange(0, x.shape[1] - 1, length)
        return jax.lax.collapse(x[:, starts[:, None] + jnp.arange(length + 1)[None]], 0, 2)

    return jax.tree.map(split, batch)


def carries_of_chunks(run: Callable[[Carry, PyTree], Carry], carry: Carry, inputs: PyTree, length: int) -> Carry:
    """Compute the memory at the start of every chunk that `as_chunks` makes.

    Args:
        run: Updates the memory with inputs `[batch, length, ...]`.
        carry: The memory before the first step, `[batch, ...]`.
        inputs: `[batch, time, ...]`.
        length: Divides `time`.

    Returns:
        `[batch * time / length, ...]`.
    """

    def step(carry: Carry, chunk: PyTree) -> tuple[Carry, Carry]:
        return run(carry, chunk), carry

    def chunks_first(x: Array) -> Array:
        return jnp.swapaxes(x.reshape(x.shape[0], x.shape[1] // length, length, *x.shape[2:]), 0, 1)

    _, carries = jax.lax.scan(step, carry, jax.tree.map(chunks_first, inputs))
    return jax.tree.map(lambda x: jax.lax.collapse(jnp.swapaxes(x, 0, 1), 0, 2), carries)


def append(sequence: PyTree, last: PyTree) -> PyTree:
    """Append a step to sequences: `[batch, time, ...]` and `[batch, ...]` to `[batch, time + 1, ...]`."""
    return jax.tree.map(lambda x, y: jnp.concatenate([x, y[:, None]], axis=1), sequence, last)


def minibatch_indices(key: Key, size: int, num_minibatches: int) -> Array:
    """Assign `0 .. size - 1` at random to minibatches, each number once.

    Args:
        key: Random key.
        size: Number of sequences.
        num_minibatches: Divides `size`.

    Returns:
        `[num_minibatches, size / num_minibatches]`.
    """
    return shuffled(key, size).reshape(num_minibatches, -1)


def take(batch: PyTree, indices: Array) -> PyTree:
    """Take sequences along the first axis of every leaf, and split them over the devices that share a seed."""
    return split_rows(jax.tree.map(lambda x: x.take(indices, axis=0), batch))


def minibatch_epochs(
    key: Key,
    learner: PyTree,
    data: tuple[PyTree, ...],
    gradient_step: Callable[..., tuple[PyTree, dict[str, Array]]],
    *,
    num_epochs: int,
    num_minibatches: int,
    stop_after: Callable[[dict[str, Array]], Array] | None = None,
) -> tuple[PyTree, dict[str, Array]]:
    """Learn from a rollout in several epochs of shuffled minibatches, with early stopping.

    Args:
        key: Random key; epoch i uses `fold_in(key, i)`.
        learner: What is learned, before the first epoch.
        data: What is learned from; every leaf leads with the sequences that are shuffled.
        gradient_step: Learns from a minibatch: `(learner, *minibatch) -> (learner, metrics)`, each metric `[]`.
        num_epochs: Number of epochs.
        num_minibatches: Number of minibatches per epoch; divides the number of sequences.
        stop_after: Whether an epoch with these metrics is the last; None never stops early.

    Returns:
        What is learned, after the last epoch, and the metrics averaged over the epochs that ran.
    """

    def epoch(learner: PyTree, i: Array) -> tuple[PyTree, dict[str, Array]]:
        size, epoch_key = jax.tree.leaves(data)[0].shape[0], jax.random.fold_in(key, i)
        indices = minibatch_indices(epoch_key, size, num_minibatches)

        def minibatch(learner: PyTree, now: tuple[Array, Key]) -> tuple[PyTree, dict[str, Array]]:
            with dropout(now[1]):
                return gradient_step(learner, *take(data, now[0]))

        keys = jax.random.split(jax.random.fold_in(epoch_key, 1), num_minibatches)
        learner, metrics = jax.lax.scan(minibatch, learner, (indices, keys))
        return learner, jax.tree.map(jnp.mean, metrics)

    def skip(learner: PyTree, i: Array) -> tuple[PyTree, dict[str, Array]]:
        return learner, jax.tree.map(jnp.zeros_like, jax.eval_shape(epoch, learner, i)[1])

    def step(state: tuple[PyTree, Array], i: Array) -> tuple[tuple[PyTree, Array], tuple[dict[str, Array], Array]]:
        learner, stop = state
        if stop_after is None:
            learner, metrics = epoch(learner, i)
            return (learner, stop), (metrics, ~stop)
        learner, metrics = jax.lax.cond(stop, skip, epoch, learner, i)
        return (learner, stop | stop_after(metrics)), (metrics, ~stop)

    numbers = jnp.arange(num_epochs, dtype=jnp.uint32)
    (learner, _), (history, ran) = jax.lax.scan(step, (learner, jnp.zeros((), bool)), numbers)
    return learner, {name: weighted_mean(x, jnp.asarray(ran, jnp.float32)) for name, x in history.items()}
