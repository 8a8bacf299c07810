"""What a logger is, and the registry of loggers."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from memorax.core.registry import Registry

Row: TypeAlias = dict[str, int | float]
"""The metrics of one seed over one logging interval: `step`, `seed`, and by name whatever has a value."""


class Logger(Protocol):
    """Receives the metrics of a run. Any object with these four methods is one.

    The run loop calls `start` once, then `write` at the end of every logging interval, `sync` before every checkpoint,
    and `close` at the end, also after an error.
    """

    def start(self, rows: Sequence[Row]) -> None:
        """Get ready, before the first `write`.

        Args:
            rows: All rows of the run so far, oldest first: none for a new run; for a resumed run, those up to the
                checkpoint that it resumes from. The logger must hold these afterwards and no others: what an
                interrupted process wrote after that checkpoint will be written again.
        """
        ...

    def write(self, rows: Sequence[Row]) -> None:
        """Receive the rows of one logging interval, one for each seed."""
        ...

    def sync(self) -> None:
        """Return when everything that was written is safe from a crash of the process or the machine.

        A logger whose `start` can restore what is lost need not wait.
        """
        ...

    def close(self) -> None:
        """Release files and connections; nothing is written afterwards."""
        ...


LOGGERS: Registry[Callable[[Path, dict[str, Any]], Logger]] = Registry("logger")
"""By name: functions that make a logger from the run's folder and its configuration, as `config.json` has it."""
