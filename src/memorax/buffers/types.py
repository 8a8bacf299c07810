"""The types of flashbax that the buffers speak. Imported when a buffer is made: flashbax is not loaded before."""

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
    """What a uniform replay holds. Leaves lead with the rows, scalars are the same for all of them.

    Attributes:
        experience: The steps, `[rows, length, ...]`, a ring in time; a transition's `carry` is
            `[rows, length // period, ...]`.
        current_index: The column that is written next, int32.
        is_full: Whether every column holds a step.
        starts: One where a sequence can be drawn, zero elsewhere.
    """

    starts: SumTree


@struct.dataclass(frozen=True)
class PrioritisedEpisodeBufferState(PrioritisedTrajectoryBufferState, Generic[Experience]):
    """What a prioritized replay holds, as `EpisodeBufferState` does.

    Attributes:
        experience: As there.
        current_index: As there.
        is_full: As there.
        sum_tree_state: Priorities of the sequences that can be drawn, raised to the exponent; zero elsewhere.
        running_index: Steps that each row has seen, uint32; it may pass its end and begin again.
        max_recorded_priority: The largest priority, raised to the exponent, that each row has seen, `[rows]`.
    """

    sum_tree_state: Any  # a `SumTree`
    max_recorded_priority: Array


@struct.dataclass(frozen=True)
class PrioritisedEpisodeBufferSample(PrioritisedTrajectoryBufferSample, Generic[Experience]):
    """Sequences from a prioritized replay.

    Attributes:
        experience: `[batch, time, ...]`; a transition's `carry` is the one before the first step, `[batch, 1, ...]`.
        indices: Where they came from, uint32 `[batch, 2]`: the row, and the step of that row they begin with, counted
            from the first ever added.
        probabilities: How likely each was to be drawn, `[batch]`.
    """


@dataclasses.dataclass(frozen=True)
class EpisodeBuffer(TrajectoryBuffer[Experience, BufferState, BufferSample]):
    """A `TrajectoryBuffer` that tells its sizes.

    Attributes:
        layout: What it was made with.
    """

    layout: Layout


@dataclasses.dataclass(frozen=True)
class PrioritisedEpisodeBuffer(PrioritisedTrajectoryBuffer[Experience, BufferState, BufferSample]):
    """A `PrioritisedTrajectoryBuffer` that tells its sizes.

    Attributes:
        layout: What it was made with.
    """

    layout: Layout
