"""Metrics as JSON lines: one object a line, readable while the file grows, at most its last line lost in a crash."""

import contextlib
import json
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from memorax.experiment.loggers.base import Row
from memorax.experiment.run.files import reason, write_text

_NEEDED = frozenset({"step", "seed"})


class JsonLines:
    """Writes rows to a file; every run has one.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: TextIO | None = None

    def start(self, rows: Sequence[Row]) -> None:
        """Let the file hold these rows and no others."""
        write_text(self.path, "".join(_line(row) for row in rows))
        self._file = self.path.open("a", encoding="utf-8")

    def write(self, rows: Sequence[Row]) -> None:
        """Append rows and pass them to the operating system, so that a killed process loses none of them."""
        with self._naming() as file:
            file.write("".join(_line(row) for row in rows))
            file.flush()

    def sync(self) -> None:
        """Wait until the disk has everything."""
        with self._naming() as file:
            os.fsync(file.fileno())

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    @contextlib.contextmanager
    def _naming(self) -> Iterator[TextIO]:
        """The open file; the system's errors about it do not name it by themselves."""
        if self._file is None:
            raise RuntimeError("`start` must be called before `write`")
        try:
            yield self._file
        except OSError as error:
            raise type(error)(f"{self.path} could not be written ({reason(error)})") from error


def read_rows(path: Path, last_step: int | None = None) -> list[Row]:
    """Read rows; a last line that was only half written is left out.

    Args:
        path: A file that `JsonLines` wrote; a missing one has no rows.
        last_step: Rows of later steps are left out.

    Raises:
        ValueError: A complete line is not a row; the message names file and line.
    """
    rows = parse_lines(path.read_bytes() if path.exists() else b"", path)
    return [row for row in rows if last_step is None or row["step"] <= last_step]


def parse_lines(content: bytes, path: Path) -> list[Row]:
    """Read the rows of complete lines.

    Args:
        content: The lines; what follows the last one is left out.
        path: The file, for messages.

    Raises:
        ValueError: A line is not JSON; the message names file and line.
    """
    rows: list[Row] = []
    for number, line in enumerate(content.split(b"\n")[:-1], start=1):
        text = line.decode("utf-8", errors="replace")
        try:
            row = json.loads(line.decode("utf-8"))
        except ValueError as error:
            raise ValueError(f"line {number} of {path} must be JSON, got {text[:60]!r}; restore the file") from error
        if not isinstance(row, dict) or not row.keys() >= _NEEDED:
            needed = ", ".join(sorted(_NEEDED))
            raise ValueError(f"line {number} of {path} must have {needed}, got {text[:60]!r}; restore the file")
        if problem := _odd(row):
            raise ValueError(f"line {number} of {path} must have {problem}, got {text[:60]!r}; restore the file")
        rows.append(row)
    return rows


def _odd(row: dict[str, Any]) -> str | None:
    """What a row lacks; None if it is one."""
    counts = [row[name] for name in (*_NEEDED, "episode/count") if name in row]
    if not all(isinstance(value, int) and not isinstance(value, bool) and value >= 0 for value in counts):
        return "counts that are integers"
    if not all(isinstance(value, int | float) and math.isfinite(value) for value in row.values()):
        return "metrics that are finite numbers"
    return None


def _line(row: dict[str, Any]) -> str:
    return json.dumps(row, allow_nan=False) + "\n"
