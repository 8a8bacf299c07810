"""States, samples and buffers as subclasses of flashbax types. flashbax is imported when a buffer is first made."""

import dataclasses
from typing import Any, Generic

from flashbax.buffers.prioritised_trajectory_buffer import (
    PrioritisedTrajectoryBuffer,
    PrioritisedTrajectoryBufferSample,
    PrioritisedTrajectoryBufferState,
)
from flashbax.buffers.trajectory_buffer import (
    BufferSample,
    BufferState,
    Experience,
    TrajectoryBuffer,
    TrajectoryBufferSample,
    TrajectoryBufferState,
)
from flax import struct

from memorax.buffers.layout import Layout
from memorax.buffers.sum_tree import SumTree
from memorax.core.types import Array

__all__ = [
    "EpisodeBuffer",
    "EpisodeBufferState",
    "PrioritisedEpisodeBuffer",
    "PrioritisedEpisodeBufferSample",
    "PrioritisedEpisodeBufferState",
    "TrajectoryBufferSample",
]


@struct.dataclass(frozen=True)
class EpisodeBufferState(TrajectoryBufferState, Generic[Experience]):
    """State of a uniform replay buffer. Arrays have the rows as their first axis; scalars are shared by all rows.

    Attributes:
        experience: The stored steps, `[rows, length, ...]`, a ring buffer along time; a transition's `carry` is
            `[rows, length // period, ...]`.
        current_index: Column that is written next, int32 `[]`.
        is_full: Whether every column holds a step, bool `[]`.
        starts: Sum tree with weight one where a sequence that can be sampled starts, zero elsewhere.
    """

    starts: SumTree


@struct.dataclass(frozen=True)
class PrioritisedEpisodeBufferState(PrioritisedTrajectoryBufferState, Generic[Experience]):
    """State of a prioritized replay buffer.

    Attributes:
        experience: The stored steps, `[rows, length, ...]`, a ring buffer along time; a transition's `carry` is
            `[rows, length // period, ...]`.
        current_index: Column that is written next, int32 `[]`.
        is_full: Whether every column holds a step, bool `[]`.
        sum_tree_state: Sum tree of the priorities, raised to the priority exponent, of the sequences that can be
            sampled; zero elsewhere.
        running_index: Number of steps ever added to each row, uint32 `[]`; it may wrap around.
        max_recorded_priority: Largest priority so far of each row, raised to the priority exponent, `[rows]`.
    """

    sum_tree_state: Any  # a `SumTree`
    max_recorded_priority: Array


@struct.dataclass(frozen=True)
class PrioritisedEpisodeBufferSample(PrioritisedTrajectoryBufferSample, Generic[Experience]):
    """Sequences sampled from a prioritized replay buffer.

    Attributes:
        experience: The sequences, `[batch, time, ...]`; a transition's `carry` is the one before the first step,
            `[batch, 1, ...]`.
        indices: Identifies the sequences for `set_priorities`, uint32 `[batch, 2]`: the row, and the number of the
            first step, counted from the first step ever added to that row.
        probabilities: Probability with which each sequence was sampled, `[batch]`.
    """


@dataclasses.dataclass(frozen=True)
class EpisodeBuffer(TrajectoryBuffer[Experience, BufferState, BufferSample]):
    """A flashbax `TrajectoryBuffer` of pure functions, with its sizes.

    Attributes:
        layout: The arguments that the buffer was made with.
    """

    layout: Layout


@dataclasses.dataclass(frozen=True)
class PrioritisedEpisodeBuffer(PrioritisedTrajectoryBuffer[Experience, BufferState, BufferSample]):
    """A flashbax `PrioritisedTrajectoryBuffer` of pure functions, with its sizes.

    Attributes:
        layout: The arguments that the buffer was made with.
    """

    layout: Layout
