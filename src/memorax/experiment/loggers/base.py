"""What a logger is."""

from collections.abc import Sequence
from typing import Protocol, TypeAlias

Row: TypeAlias = dict[str, int | float]
"""The metrics of one seed over one interval: `step`, `seed`, and whatever has a value, by name."""


class Logger(Protocol):
    """Takes rows of metrics. A row is on its way to where it is kept when `write` returns, and there after `close`."""

    def write(self, rows: Sequence[Row]) -> None:
        """Take the rows of one interval, one for each seed."""
        ...

    def close(self) -> None:
        """Finish; nothing is written afterwards."""
        ...
