"""A replay that draws whole sequences, all equally often."""

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
    """Make a replay from which sequences are drawn uniformly.

    Steps are kept in a ring of time, a row for each environment. A sequence can be drawn where its start is flagged
    and all its steps are there, in the order in which they happened: it never goes across the place where the newest
    step meets the oldest. All such sequences are equally likely, and drawn independently of each other. The episode
    may end inside a sequence.

    A transition's `carry` is stored once per place where a sequence may begin, and drawn as `[batch, 1, ...]`: the
    memory before its first step. Where sequences begin with episodes none is stored and `carry` is None, for the
    network forgets at their first step what was before. Rows are independent: state and functions work on any part
    of the rows, so that inside `jax.shard_map` every device draws `sample_batch_size` sequences from its own rows.

    Args:
        max_length: Steps kept, of all rows together; rounded down so that every row has equally many whole periods.
        min_length: Steps needed before sequences can be drawn, of all rows together.
        sample_batch_size: Sequences per sample.
        sample_sequence_length: Steps per sequence.
        get_start_flags: Tells where sequences may begin: takes steps, `[batch, time, ...]`, without their carry,
            looks at each for itself, and returns bool `[batch, time]`.
        add_sequences: Whether `add` is given a time axis. `[batch, time, ...]` may always be added.
        add_batch_size: Rows; None for a single one, and items without a batch axis.
        min_length_time_axis: In place of `min_length`: steps needed in each row.
        period: Sequences may begin with every so many steps only; memories take so many times less room.

    Returns:
        A `TrajectoryBuffer` of flashbax, with its `layout` besides. `can_sample` is True where there are `min_length`
        steps and at least one sequence to be drawn.

    Raises:
        TypeError: A size is no integer, or `get_start_flags` no function.
        ValueError: The sizes do not fit each other.
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
    """Make an empty replay for items like this one, given without batch and time axes."""
    from memorax.buffers.types import EpisodeBufferState  # noqa: PLC0415

    return EpisodeBufferState(
        experience=layout.allocate(item),
        current_index=jnp.zeros((), jnp.int32),
        is_full=jnp.zeros((), bool),
        starts=sum_tree.make_tree(layout.rows, layout.places, jnp.uint8),
    )


def add(layout: Layout, state: "EpisodeBufferState", batch: PyTree) -> "EpisodeBufferState":
    """Append steps to every row."""
    fields, windows, _ = append(layout, state, batch)
    starts = sum_tree.set_windows(state.starts, layout.places, windows)
    return dataclasses.replace(state, starts=starts, **fields)


def sample(layout: Layout, state: "EpisodeBufferState", key: Key) -> "TrajectoryBufferSample":
    """Draw sequences."""
    from memorax.buffers.types import TrajectoryBufferSample  # noqa: PLC0415

    rows, places = draw(layout, state.starts, key)
    return TrajectoryBufferSample(experience=layout.read(state.experience, rows, places))


def can_sample(layout: Layout, state: "EpisodeBufferState") -> Array:
    """Tell whether there is enough to draw from."""
    return holds_enough(layout, state, state.starts)


def append(layout: Layout, state: PyTree, batch: PyTree) -> tuple[dict[str, PyTree], list[sum_tree.Window], int]:
    """Append steps to every row; of more than there is room for, the last.

    Args:
        layout: The sizes of the replay.
        state: What it holds.
        batch: Steps, with the axes that were announced, or `[batch, time, ...]`.

    Returns:
        The changed fields of the state, by name, the starts that have come or gone, and how many steps each row got.
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
    """Draw rows and places where sequences begin, each `[sample_batch_size]`, within bounds in any case."""
    rows, places = sum_tree.draw(tree, key, layout.sample_batch_size)
    return jnp.minimum(rows, tree.levels[0].shape[0] - 1), jnp.minimum(places, layout.places - 1)


def holds_enough(layout: Layout, state: PyTree, tree: sum_tree.SumTree) -> Array:
    """Tell whether the least number of steps is there, and anything to draw."""
    long_enough = state.is_full | (state.current_index >= layout.min_columns)
    return long_enough & jnp.any(sum_tree.total(tree) > 0)
