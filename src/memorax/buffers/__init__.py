"""Replay buffers of whole sequences, uniform and prioritized, for off-policy learning with memory."""

from typing import TYPE_CHECKING, Any

from memorax.buffers.episode_buffer import make_episode_buffer
from memorax.buffers.layout import Layout
from memorax.buffers.prioritised_episode_buffer import compute_importance_weights, make_prioritised_episode_buffer
from memorax.buffers.protocol import Buffer, PrioritizedBuffer
from memorax.buffers.starts import get_full_start_flags, get_start_flags_from_done

if TYPE_CHECKING:
    from memorax.buffers.types import PrioritisedEpisodeBufferSample

__all__ = [
    "Buffer",
    "Layout",
    "PrioritisedEpisodeBufferSample",
    "PrioritizedBuffer",
    "compute_importance_weights",
    "get_full_start_flags",
    "get_start_flags_from_done",
    "make_episode_buffer",
    "make_prioritised_episode_buffer",
]


def __getattr__(name: str) -> Any:
    """Import the types that need flashbax when they are first used."""
    if name == "PrioritisedEpisodeBufferSample":
        from memorax.buffers.types import PrioritisedEpisodeBufferSample  # noqa: PLC0415

        return PrioritisedEpisodeBufferSample
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
