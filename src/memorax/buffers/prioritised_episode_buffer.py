"""A replay that draws whole sequences, those from which more is to be learned more often."""

import dataclasses
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

import jax.numpy as jnp

from memorax.buffers import sum_tree
from memorax.buffers.episode_buffer import append, draw, holds_enough
from memorax.buffers.layout import Layout
from memorax.buffers.starts import get_start_flags_from_done
from memorax.core.types import Array, Key, PyTree

if TYPE_CHECKING:
    from memorax.buffers.types import (
        PrioritisedEpisodeBuffer,
        PrioritisedEpisodeBufferSample,
        PrioritisedEpisodeBufferState,
    )

DEVICES = ("cpu", "gpu", "tpu")
LARGEST = 1e28
"""Of a raised priority: `MOST_STARTS` of them can still be added up in float32."""


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
    """Make a replay from which sequences are drawn in proportion to their priorities.

    It keeps what `make_episode_buffer` keeps, and the same sequences can be drawn, independently of each other, each
    with the probability `p^priority_exponent / sum p^priority_exponent`. A sequence enters with its last step, and
    with the largest priority that there has been; the first ones with 1. One that is drawn twice in a batch keeps
    the larger of its new priorities. A priority of zero is never drawn again, one that is NaN changes nothing, and
    neither does one for a sequence that has been overwritten since it was drawn.

    Drawing, adding and setting take time in proportion to the logarithm of `max_length`.

    Args:
        max_length: Steps kept, of all rows together; rounded down so that every row has equally many whole periods.
        min_length: Steps needed before sequences can be drawn, of all rows together.
        sample_batch_size: Sequences per sample.
        sample_sequence_length: Steps per sequence.
        get_start_flags: Tells where sequences may begin, as for `make_episode_buffer`.
        add_sequences: Whether `add` is given a time axis. `[batch, time, ...]` may always be added.
        add_batch_size: Rows; None for a single one, and items without a batch axis.
        priority_exponent: 0 draws uniformly, 1 in proportion to the priorities themselves.
        device: "cpu", "gpu" or "tpu", as flashbax has it; all are served by the same code.
        period: Sequences may begin with every so many steps only, as for `make_episode_buffer`.

    Returns:
        A `PrioritisedTrajectoryBuffer` of flashbax, with its `layout` besides. Its samples are
        `PrioritisedEpisodeBufferSample(experience, indices, probabilities)`.

    Raises:
        TypeError: A size is no integer, or `get_start_flags` no function.
        ValueError: The sizes do not fit each other, or an option is none that there is.

    Source:
        Schaul et al., "Prioritized Experience Replay", 2015, https://arxiv.org/abs/1511.05952.
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
    if not 0 <= priority_exponent <= 1:
        raise ValueError(f"`priority_exponent` must be in [0, 1], got {priority_exponent}")
    if device not in DEVICES:
        raise ValueError(f"`device` must be one of {', '.join(DEVICES)}, got {device!r}")
    functions = {"init": init, "add": add, "sample": sample, "can_sample": can_sample}
    return PrioritisedEpisodeBuffer(
        layout=layout,
        set_priorities=functools.partial(set_priorities, layout, priority_exponent),
        **{name: functools.partial(f, layout) for name, f in functions.items()},
    )


def init(layout: Layout, item: PyTree) -> "PrioritisedEpisodeBufferState":
    """Make an empty replay for items like this one, given without batch and time axes."""
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
    """Append steps to every row."""
    fields, windows, given = append(layout, state, batch)
    largest = jnp.max(state.max_recorded_priority)
    windows = [dataclasses.replace(window, values=window.values * largest) for window in windows]
    tree = sum_tree.set_windows(state.sum_tree_state, layout.places, windows)
    running_index = state.running_index + jnp.uint32(given)
    return dataclasses.replace(state, sum_tree_state=tree, running_index=running_index, **fields)


def sample(layout: Layout, state: "PrioritisedEpisodeBufferState", key: Key) -> "PrioritisedEpisodeBufferSample":
    """Draw sequences."""
    from memorax.buffers.types import PrioritisedEpisodeBufferSample  # noqa: PLC0415

    tree = state.sum_tree_state
    rows, places = draw(layout, tree, key)
    weights, whole = sum_tree.get_leaves(tree, rows, places), jnp.sum(sum_tree.total(tree))
    age = (state.current_index - places * layout.period - 1) % layout.length + 1
    age = jnp.where(weights > 0, age, 0)  # what was drawn from nothing is known as such
    steps = state.running_index - age.astype(jnp.uint32)
    return PrioritisedEpisodeBufferSample(
        experience=layout.read(state.experience, rows, places),
        indices=jnp.stack([rows.astype(jnp.uint32), steps], axis=-1),
        probabilities=jnp.where(weights > 0, weights / whole, 0.0),
    )


def can_sample(layout: Layout, state: "PrioritisedEpisodeBufferState") -> Array:
    """Tell whether there is enough to draw from."""
    return holds_enough(layout, state, state.sum_tree_state)


def set_priorities(
    layout: Layout, exponent: float, state: "PrioritisedEpisodeBufferState", indices: Array, priorities: Array
) -> "PrioritisedEpisodeBufferState":
    """Say how much is to be learned from sequences.

    Args:
        layout: The sizes of the replay.
        exponent: What priorities are raised to.
        state: What the replay holds.
        indices: Those of a sample, `[batch, 2]`.
        priorities: `[batch]`, not negative; usually absolute errors and a little more.

    Returns:
        The replay with the new priorities.
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
    """Weigh what was drawn so that what is drawn often does not count more: `(N P(i))^-beta`, the largest being 1.

    Args:
        probabilities: How likely each sequence was to be drawn, `[batch]`.
        buffer_size: How many there were to draw from, N. It cancels, for the weights are divided by the largest.
        beta: 0 corrects nothing, 1 all; to be raised towards 1 while training.

    Returns:
        `[batch]`, in (0, 1].

    Source:
        Schaul et al., "Prioritized Experience Replay", 2015, section 3.4.
    """
    likelihood = jnp.log(buffer_size) + jnp.log(jnp.maximum(probabilities, jnp.finfo(probabilities.dtype).tiny))
    weights = -beta * likelihood
    return jnp.exp(weights - jnp.max(weights))
