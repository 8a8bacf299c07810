"""Uniform replay buffer of whole sequences."""

import dataclasses
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from memorax.buffers import sum_tree
from memorax.buffers.layout import Layout
from memorax.buffers.starts import get_start_flags_from_done
from memorax.core.types import Array, Key, PyTree

if TYPE_CHECKING:
    from memorax.buffers.types import EpisodeBuffer, EpisodeBufferState, TrajectoryBufferSample


def make_episode_buffer(  # noqa: PLR0913, PLR0917
    max_length: int,
    min_length: int,
    sample_batch_size: int,
    sample_sequence_length: int,
    get_start_flags: Callable[[PyTree], Array] = get_start_flags_from_done,
    add_sequences: bool = False,
    add_batch_size: int | None = None,
    min_length_time_axis: int | None = None,
    period: int = 1,
) -> "EpisodeBuffer":
    """Make a replay buffer from which sequences are sampled uniformly.

    Steps are stored in a ring buffer along time, with a row for each environment. A sequence can be sampled if its
    start is flagged and all its steps are stored, in the order in which they happened: a sequence never crosses the
    write head, where the newest step is next to the oldest. All such sequences are equally likely and sampled
    independently, with replacement. Episodes may end inside a sequence.

    A transition's `carry` is stored once for each column where a sequence may start, and sampled as `[batch, 1, ...]`:
    the carry before the first step of the sequence. If sequences start at episode starts only, no carry is stored and
    `carry` is None, because the network resets its memory there. Rows are independent: the state and the functions
    work on any subset of the rows, so inside `jax.shard_map` every device samples `sample_batch_size` sequences from
    its own rows.

    Args:
        max_length: Steps stored, in all rows together; rounded down so that every row has equally many whole periods.
        min_length: Steps needed before sequences can be sampled, in all rows together.
        sample_batch_size: Sequences per sample.
        sample_sequence_length: Steps per sequence.
        get_start_flags: Where sequences may start: a function from steps `[batch, time, ...]`, without their carry, to
            bool `[batch, time]`. It must treat every step independently of the others.
        add_sequences: Whether what is passed to `add` has a time axis. `[batch, time, ...]` can always be added.
        add_batch_size: Number of rows; None for a single row and items without a batch axis.
        min_length_time_axis: Steps needed in each row, in place of `min_length`.
        period: Sequences start at multiples of this many steps; carries take this many times less memory.

    Returns:
        A flashbax `TrajectoryBuffer` with its `layout`: pure functions `init(item)`, `add(state, batch)`,
        `sample(state, key)` and `can_sample(state)`, which is True once `min_length` steps are stored and at least one
        sequence can be sampled.

    Raises:
        TypeError: A size is not an integer, or `get_start_flags` is not callable.
        ValueError: A size is below 1, or the sizes do not fit each other.

    Source:
        Kapturowski et al. 2019, "Recurrent Experience Replay in Distributed Reinforcement Learning",
        https://openreview.net/forum?id=r1lyTjAqYX, for sequences with stored carries.
    """
    from memorax.buffers.types import EpisodeBuffer  # noqa: PLC0415

    layout = Layout(
        max_length,
        min_length,
        sample_batch_size,
        sample_sequence_length,
        get_start_flags,
        add_sequences,
        add_batch_size,
        min_length_time_axis,
        period,
    )
    functions = {"init": init, "add": add, "sample": sample, "can_sample": can_sample}
    return EpisodeBuffer(layout=layout, **{name: functools.partial(f, layout) for name, f in functions.items()})


def init(layout: Layout, item: PyTree) -> "EpisodeBufferState":
    """Make an empty replay buffer for items like this one, given without batch and time axes."""
    from memorax.buffers.types import EpisodeBufferState  # noqa: PLC0415

    return EpisodeBufferState(
        experience=layout.allocate(item),
        current_index=jnp.zeros((), jnp.int32),
        is_full=jnp.zeros((), bool),
        starts=sum_tree.make_tree(layout.rows, layout.places, jnp.uint8),
    )


def add(layout: Layout, state: "EpisodeBufferState", batch: PyTree) -> "EpisodeBufferState":
    """Add steps to every row."""
    fields, windows, _ = append(layout, state, batch)
    starts = sum_tree.set_windows(state.starts, layout.places, windows)
    return dataclasses.replace(state, starts=starts, **fields)


def sample(layout: Layout, state: "EpisodeBufferState", key: Key) -> "TrajectoryBufferSample":
    """Sample sequences."""
    from memorax.buffers.types import TrajectoryBufferSample  # noqa: PLC0415

    rows, places = draw(layout, state.starts, key)
    return TrajectoryBufferSample(experience=layout.read(state.experience, rows, places))


def can_sample(layout: Layout, state: "EpisodeBufferState") -> Array:
    """Whether enough steps are stored to sample from."""
    return holds_enough(layout, state, state.starts)


def append(layout: Layout, state: PyTree, batch: PyTree) -> tuple[dict[str, PyTree], list[sum_tree.Window], int]:
    """Add steps to every row; if there are more than a row holds, the last ones.

    Args:
        layout: The sizes of the buffer.
        state: The state of the buffer.
        batch: Steps, with the axes that `add_batch_size` and `add_sequences` say, or `[batch, time, ...]`.

    Returns:
        The changed fields of the state by name, the windows of start flags that changed, and the number of steps that
        were added to each row.
    """
    batch = layout.with_all_axes(batch, state.experience)
    given = jax.tree.leaves(batch)[0].shape[1]
    count = min(given, layout.length)
    batch = jax.tree.map(lambda x: x[:, given - count :], batch)
    begin = (state.current_index + (given - count)) % layout.length
    experience = layout.write(state.experience, begin, batch)
    is_full = state.is_full | (state.current_index + given >= layout.length)
    head = (begin + count) % layout.length
    windows = layout.changed_starts(experience, head, jnp.where(is_full, layout.length, head), count)
    return {"experience": experience, "current_index": head, "is_full": is_full}, windows, given


def draw(layout: Layout, tree: sum_tree.SumTree, key: Key) -> tuple[Array, Array]:
    """Sample the rows and places of sequences, each `[sample_batch_size]`, within bounds even if there are none."""
    rows, places = sum_tree.draw(tree, key, layout.sample_batch_size)
    return jnp.minimum(rows, tree.levels[0].shape[0] - 1), jnp.minimum(places, layout.places - 1)


def holds_enough(layout: Layout, state: PyTree, tree: sum_tree.SumTree) -> Array:
    """Whether the minimum number of steps is stored, and at least one sequence can be sampled."""
    long_enough = state.is_full | (state.current_index >= layout.min_columns)
    return long_enough & jnp.any(sum_tree.total(tree) > 0)
