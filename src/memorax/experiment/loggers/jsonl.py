"""Metrics as JSON lines: one object a line, readable while it grows, at most its last line lost in a crash."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from memorax.experiment.loggers.base import Row
from memorax.experiment.run.files import write_text


class JsonLines:
    """Appends rows to a file.

    Args:
        path: The file; it is made if it is not there, and continued if it is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("a", encoding="utf-8")

    def write(self, rows: Sequence[Row]) -> None:
        """Append the rows and hand them to the operating system, so that a killed process loses none of them."""
        self._file.write("".join(_line(row) for row in rows))
        self._file.flush()

    def sync(self) -> None:
        """Wait until the disk has everything, as must be before a checkpoint says that it has happened."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_rows(path: Path) -> list[Row]:
    """Read all rows; a last line that was only half written is left out.

    Args:
        path: A file that `JsonLines` wrote.

    Raises:
        ValueError: A line in its midst is not JSON; the message names file and line.
    """
    rows: list[Row] = []
    lines = path.read_text(encoding="utf-8").split("\n")
    for number, line in enumerate(lines[:-1], start=1):
        try:
            rows.append(json.loads(line))
        except ValueError as error:
            raise ValueError(f"line {number} of {path} must be JSON, got {line[:60]!r}; delete that line") from error
    return rows


def truncate(path: Path, step: int) -> list[Row]:
    """Forget what came after `step`, and a half-written last line.

    Args:
        path: A file that `JsonLines` wrote; it may be missing.
        step: Rows up to and with this step stay.

    Returns:
        The rows that stay.
    """
    if not path.exists():
        return []
    rows = [row for row in read_rows(path) if row["step"] <= step]
    write_text(path, "".join(_line(row) for row in rows))
    return rows


def _line(row: dict[str, Any]) -> str:
    return json.dumps(row, allow_nan=False) + "\n"
