"""What loggers of experiment trackers have in common: a name that a run keeps, and a project."""

import secrets
from collections.abc import Sequence
from pathlib import Path

from memorax.experiment.loggers.base import Row
from memorax.experiment.run.files import write_text

PROJECT = "memorax"
"""Project of all runs, unless the library's own environment variable names another."""


def run_id(file: Path, rows: Sequence[Row]) -> str:
    """Give the random name that a run has in a tracker; a run that begins again has a new one.

    Args:
        file: Where it is kept.
        rows: The run's rows so far.
    """
    if rows and file.is_file():
        return file.read_text(encoding="utf-8").strip()
    name = secrets.token_hex(4)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, f"{name}\n")
    return name


def split(row: Row) -> tuple[int, int, dict[str, int | float]]:
    """Give seed, step and metrics of a row."""
    return int(row["seed"]), int(row["step"]), {name: row[name] for name in row if name not in ("seed", "step")}
