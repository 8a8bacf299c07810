"""Prioritized replay buffer of whole sequences."""

import dataclasses
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

import jax.numpy as jnp

from memorax.buffers import sum_tree
from memorax.buffers.episode_buffer import append, draw, holds_enough
from memorax.buffers.layout import Layout
from memorax.buffers.starts import get_start_flags_from_done
from memorax.core.checks import check, real
from memorax.core.types import Array, Key, PyTree

if TYPE_CHECKING:
    from memorax.buffers.types import (
        PrioritisedEpisodeBuffer,
        PrioritisedEpisodeBufferSample,
        PrioritisedEpisodeBufferState,
    )

DEVICES = ("cpu", "gpu", "tpu")
LARGEST = 1e28
"""Largest priority after exponentiation: `MOST_STARTS` of these still have a finite sum in float32."""


def make_prioritised_episode_buffer(  # noqa: PLR0913, PLR0917
    max_length: int,
    min_length: int,
    sample_batch_size: int,
    sample_sequence_length: int,
    get_start_flags: Callable[[PyTree], Array] = get_start_flags_from_done,
    add_sequences: bool = False,
    add_batch_size: int | None = None,
    priority_exponent: float = 0.6,
    device: str = "cpu",
    period: int = 1,
) -> "PrioritisedEpisodeBuffer":
    """Make a replay buffer from which sequences are sampled in proportion to their priorities.

    It stores what `make_episode_buffer` stores, and the same sequences can be sampled, independently of each other,
    each with probability `p^priority_exponent / sum p^priority_exponent`. A sequence becomes available with its last
    step, with the largest priority so far as its own, at least 1. If a sequence is in a batch twice, the larger of its
    new priorities counts. A sequence of priority zero is never sampled again. A priority that is NaN, or
    for a sequence that has been overwritten since it was sampled, is ignored.

    Adding, sampling and setting priorities take time in proportion to the logarithm of `max_length`: priorities are
    kept in a sum tree.

    Args:
        max_length: Steps stored, in all rows together; rounded down so that every row has equally many whole periods.
        min_length: Steps needed before sequences can be sampled, in all rows together.
        sample_batch_size: Sequences per sample.
        sample_sequence_length: Steps per sequence.
        get_start_flags: Where sequences may start, as for `make_episode_buffer`.
        add_sequences: Whether what is passed to `add` has a time axis. `[batch, time, ...]` can always be added.
        add_batch_size: Number of rows; None for a single row and items without a batch axis.
        priority_exponent: Priority exponent alpha, in `[0, 1]`: 0 samples uniformly, 1 in proportion to the priorities.
        device: "cpu", "gpu" or "tpu", as in flashbax; makes no difference here.
        period: Sequences start at multiples of this many steps, as for `make_episode_buffer`.

    Returns:
        A flashbax `PrioritisedTrajectoryBuffer` with its `layout`: pure functions `init(item)`, `add(state, batch)`,
        `sample(state, key)`, `can_sample(state)` and `set_priorities(state, indices, priorities)`. Its samples are
        `PrioritisedEpisodeBufferSample(experience, indices, probabilities)`.

    Raises:
        TypeError: A size is not an integer, or `get_start_flags` is not callable.
        ValueError: The sizes do not fit each other, or an option has an unknown value.

    Source:
        Schaul et al. 2015, "Prioritized Experience Replay", https://arxiv.org/abs/1511.05952.
    """
    from memorax.buffers.types import PrioritisedEpisodeBuffer  # noqa: PLC0415

    layout = Layout(
        max_length,
        min_length,
        sample_batch_size,
        sample_sequence_length,
        get_start_flags,
        add_sequences,
        add_batch_size,
        period=period,
    )
    exponent = check("priority_exponent", priority_exponent, real(0, 1))
    if device not in DEVICES:
        raise ValueError(f"`device` must be one of {', '.join(DEVICES)}, got {device!r}")
    functions = {"init": init, "add": add, "sample": sample, "can_sample": can_sample}
    return PrioritisedEpisodeBuffer(
        layout=layout,
        set_priorities=functools.partial(set_priorities, layout, exponent),
        **{name: functools.partial(f, layout) for name, f in functions.items()},
    )


def init(layout: Layout, item: PyTree) -> "PrioritisedEpisodeBufferState":
    """Make an empty replay buffer for items like this one, given without batch and time axes."""
    from memorax.buffers.types import PrioritisedEpisodeBufferState  # noqa: PLC0415

    return PrioritisedEpisodeBufferState(
        experience=layout.allocate(item),
        current_index=jnp.zeros((), jnp.int32),
        is_full=jnp.zeros((), bool),
        sum_tree_state=sum_tree.make_tree(layout.rows, layout.places, jnp.float32),
        running_index=jnp.zeros((), jnp.uint32),
        max_recorded_priority=jnp.ones(layout.rows, jnp.float32),
    )


def add(layout: Layout, state: "PrioritisedEpisodeBufferState", batch: PyTree) -> "PrioritisedEpisodeBufferState":
    """Add steps to every row."""
    fields, windows, given = append(layout, state, batch)
    largest = jnp.max(state.max_recorded_priority)
    windows = [dataclasses.replace(window, values=window.values * largest) for window in windows]
    tree = sum_tree.set_windows(state.sum_tree_state, layout.places, windows)
    running_index = state.running_index + jnp.uint32(given)
    return dataclasses.replace(state, sum_tree_state=tree, running_index=running_index, **fields)


def sample(layout: Layout, state: "PrioritisedEpisodeBufferState", key: Key) -> "PrioritisedEpisodeBufferSample":
    """Sample sequences."""
    from memorax.buffers.types import PrioritisedEpisodeBufferSample  # noqa: PLC0415

    tree = state.sum_tree_state
    rows, places = draw(layout, tree, key)
    weights, whole = sum_tree.get_leaves(tree, rows, places), jnp.sum(sum_tree.total(tree))
    age = (state.current_index - places * layout.period - 1) % layout.length + 1
    age = jnp.where(weights > 0, age, 0)  # marks samples from an empty buffer: `set_priorities` ignores them
    steps = state.running_index - age.astype(jnp.uint32)
    return PrioritisedEpisodeBufferSample(
        experience=layout.read(state.experience, rows, places),
        indices=jnp.stack([rows.astype(jnp.uint32), steps], axis=-1),
        probabilities=jnp.where(weights > 0, weights / whole, 0.0),
    )


def can_sample(layout: Layout, state: "PrioritisedEpisodeBufferState") -> Array:
    """Whether enough steps are stored to sample from."""
    return holds_enough(layout, state, state.sum_tree_state)


def set_priorities(
    layout: Layout, exponent: float, state: "PrioritisedEpisodeBufferState", indices: Array, priorities: Array
) -> "PrioritisedEpisodeBufferState":
    """Set the priorities of sampled sequences.

    Args:
        layout: The sizes of the buffer.
        exponent: Priority exponent.
        state: The state of the buffer.
        indices: The `indices` of a sample, `[batch, 2]`.
        priorities: New priorities, not negative, `[batch]`; usually absolute TD errors plus a small constant.

    Returns:
        The state with the new priorities.
    """
    rows, steps = indices[:, 0].astype(jnp.int32), indices[:, 1]
    age = state.running_index - steps
    known = (age >= layout.sample_sequence_length) & (age <= layout.length) & ~jnp.isnan(priorities)
    age = jnp.where(known, age, 0).astype(jnp.int32)
    places = (state.current_index - age) % layout.length // layout.period
    rows = jnp.where(known, rows, layout.rows)
    raised = jnp.where(priorities > 0, jnp.minimum(priorities**exponent, LARGEST), 0.0).astype(jnp.float32)
    return dataclasses.replace(
        state,
        sum_tree_state=sum_tree.set_leaves(state.sum_tree_state, rows, places, raised),
        max_recorded_priority=state.max_recorded_priority.at[rows].max(raised, mode="drop"),
    )


def compute_importance_weights(probabilities: Array, buffer_size: Array | int, beta: Array | float = 0.4) -> Array:
    """Compute importance-sampling weights `(N P(i))^-beta`, divided by the largest weight of the batch.

    They correct the bias of sampling some sequences more often than others.

    Args:
        probabilities: Probability P(i) with which each sequence was sampled, `[batch]`.
        buffer_size: Number of sequences N in the buffer. It cancels when the weights are divided by the largest.
        beta: Importance-sampling exponent: 0 corrects nothing, 1 fully; usually annealed to 1 during training.

    Returns:
        Weights in (0, 1], `[batch]`.

    Source:
        Schaul et al. 2015, "Prioritized Experience Replay", https://arxiv.org/abs/1511.05952, section 3.4.
    """
    likelihood = jnp.log(buffer_size) + jnp.log(jnp.maximum(probabilities, jnp.finfo(probabilities.dtype).tiny))
    weights = -beta * likelihood
    return jnp.exp(weights - jnp.max(weights))
