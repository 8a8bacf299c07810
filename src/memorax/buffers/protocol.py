"""What a replay buffer is to an off-policy algorithm."""

from typing import Any, Protocol

from memorax.core.types import Array, Key, PyTree


class Buffer(Protocol):
    """A replay buffer in the style of flashbax: pure functions of its state."""

    def init(self, item: PyTree) -> PyTree:
        """Make the state of an empty buffer for items like this one, given without batch and time axes."""
        ...

    def add(self, state: PyTree, batch: PyTree) -> PyTree:
        """Append transitions, `[batch, time, ...]`."""
        ...

    def sample(self, state: PyTree, key: Key) -> Any:
        """Draw sequences; the result has `.experience`, `[batch, time, ...]`."""
        ...

    def can_sample(self, state: PyTree) -> Array:
        """Whether there is enough to draw from, bool `[]`; nothing is learned from what is drawn before."""
        ...


class PrioritizedBuffer(Buffer, Protocol):
    """A replay buffer that draws sequences with probabilities given by their priorities."""

    def set_priorities(self, state: PyTree, indices: Array, priorities: Array) -> PyTree:
        """Set the priorities of sequences, given the `.indices` of the sample they came in.

        A priority that is NaN leaves the old one.
        """
        ...
