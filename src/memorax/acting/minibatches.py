"""Random parts of a rollout."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from memorax.core.types import Array, Carry, Key, PyTree
from memorax.objectives import weighted_mean


def as_single_steps(batch: PyTree) -> PyTree:
    """Cut sequences into sequences of one step, for networks without memory: `[batch, time]` to `[batch * time, 1]`."""
    return jax.tree.map(lambda x: x.reshape(-1, 1, *x.shape[2:]), batch)


def as_chunks(batch: PyTree, length: int) -> PyTree:
    """Cut sequences into shorter ones, each with the first step of the next as its last.

    Args:
        batch: `[batch, time + 1, ...]`.
        length: Divides `time`.

    Returns:
        `[batch * time / length, length + 1, ...]`.
    """

    def cut(x: Array) -> Array:
        starts = jnp.arange(0, x.shape[1] - 1, length)
        return x[:, starts[:, None] + jnp.arange(length + 1)].reshape(-1, length + 1, *x.shape[2:])

    return jax.tree.map(cut, batch)


def carries_of_chunks(run: Callable[[Carry, PyTree], Carry], carry: Carry, inputs: PyTree, length: int) -> Carry:
    """Find the memory at the start of every chunk that `as_chunks` makes.

    Args:
        run: Takes the memory over inputs `[batch, length, ...]`.
        carry: The memory before the first step, `[batch, ...]`.
        inputs: `[batch, time, ...]`.
        length: Divides `time`.

    Returns:
        `[batch * time / length, ...]`.
    """

    def step(carry: Carry, chunk: PyTree) -> tuple[Carry, Carry]:
        return run(carry, chunk), carry

    def chunks_first(x: Array) -> Array:
        return jnp.swapaxes(x.reshape(x.shape[0], -1, length, *x.shape[2:]), 0, 1)

    _, carries = jax.lax.scan(step, carry, jax.tree.map(chunks_first, inputs))
    return jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1).reshape(-1, *x.shape[2:]), carries)


def append(sequence: PyTree, last: PyTree) -> PyTree:
    """Put one step more behind sequences: `[batch, time, ...]` and `[batch, ...]` to `[batch, time + 1, ...]`."""
    return jax.tree.map(lambda x, y: jnp.concatenate([x, y[:, None]], axis=1), sequence, last)


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


def epochs(
    run: Callable[[PyTree, Array], tuple[PyTree, dict[str, Array]]],
    learner: PyTree,
    number: int,
    enough: Callable[[dict[str, Array]], Array] | None = None,
) -> tuple[PyTree, dict[str, Array]]:
    """Go through a rollout several times, until it was enough.

    Args:
        run: Goes through it once: `(learner, i) -> (learner, metrics)`, each metric `[]`.
        learner: What is known so far.
        number: How often at most.
        enough: Tells by the metrics of an epoch whether it shall be the last; None: it never is.

    Returns:
        What is known then, and the metrics averaged over the epochs that ran.
    """

    def skip(learner: PyTree, i: Array) -> tuple[PyTree, dict[str, Array]]:
        return learner, jax.tree.map(jnp.zeros_like, jax.eval_shape(run, learner, i)[1])

    def step(state: tuple[PyTree, Array], i: Array) -> tuple[tuple[PyTree, Array], tuple[dict[str, Array], Array]]:
        learner, stop = state
        if enough is None:
            learner, metrics = run(learner, i)
            return (learner, stop), (metrics, ~stop)
        learner, metrics = jax.lax.cond(stop, skip, run, learner, i)
        return (learner, stop | enough(metrics)), (metrics, ~stop)

    numbers = jnp.arange(number, dtype=jnp.uint32)
    (learner, _), (history, ran) = jax.lax.scan(step, (learner, jnp.zeros((), bool)), numbers)
    return learner, {name: weighted_mean(x, jnp.asarray(ran, jnp.float32)) for name, x in history.items()}
