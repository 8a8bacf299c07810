"""The files of a run, written atomically: a kill at any moment leaves the old file or the new one."""

import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

CONFIG_FILE = "config.json"
METRICS_FILE = "metrics.jsonl"
CHECKPOINTS = "checkpoints"
CURVE_FILE = "learning_curve.png"
SUMMARY_FILE = "summary.json"
EVALUATION_FILE = "evaluation.json"
FILM_FILE = "play.gif"
DIAGNOSIS_FILE = "diagnosis.json"
DIAGNOSIS_FIGURE = "diagnosis.png"


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file in the same folder, then put it in place of `path`.

    Args:
        path: The file to make or replace; its suffix is kept by the temporary file.
        write: Writes the file it is given.

    Raises:
        OSError: The folder cannot be written to, or the disk is full.
    """
    temporary = path.with_name(f".{path.stem}-{secrets.token_hex(8)}{path.suffix}")
    temporary.touch(exist_ok=False)  # not by `tempfile`, whose files nobody else may read
    try:
        write(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def check_new_folder(folder: Path) -> None:
    """Refuse to write into a folder that holds anything.

    Raises:
        ValueError: It does, or it is a file.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"`out` must be a new or an empty folder, got {folder}, which holds something; name another")


def write_folder(folder: Path, fill: Callable[[Path], object]) -> None:
    """Let `fill` fill a temporary folder beside, then put it in place: the folder is complete or not there.

    Args:
        folder: The folder to make; one that is there must be empty.
        fill: Writes files into the folder it is given.

    Raises:
        OSError: It cannot be written, or the folder is not empty any more.
    """
    folder = folder.absolute()
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".{folder.name}-{secrets.token_hex(8)}")
    temporary.mkdir()
    try:
        fill(temporary)
        for path in temporary.iterdir():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        sync_folder(temporary)
        temporary.replace(folder)
        sync_folder(folder.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def sync_folder(folder: Path) -> None:
    """Wait until the disk has the names of a folder's files, so that a rename outlives a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file atomically; NaN and infinity are refused, which JSON does not have."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        FileNotFoundError: There is none.
        ValueError: It is not JSON; the message names it.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"`{path}` must be a JSON file, got something else ({error}); restore or delete it") from error


def check_writable(folder: Path) -> None:
    """Make a folder, and refuse one that cannot be written to.

    Raises:
        ValueError: It cannot be made, or no file can be made in it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = error.strerror or str(error)
        raise ValueError(f"`out` must be a folder that can be written to, got {folder} ({reason})") from error
