"""The files of a run, written atomically: a kill at any moment leaves the old file or the new one."""

import contextlib
import errno
import fcntl
import json
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

CONFIG_FILE = "config.json"
METRICS_FILE = "metrics.jsonl"
CHECKPOINTS = "checkpoints"
BEST = "best"
CURVE_FILE = "learning_curve.png"
SUMMARY_FILE = "summary.json"
EVALUATION_FILE = "evaluation.json"
FILM_FILE = "play.gif"
DIAGNOSIS_FILE = "diagnosis.json"
DIAGNOSIS_FIGURE = "diagnosis.png"
_TEMPORARY = re.compile(r"\.(config|metrics|learning_curve|summary|evaluation|diagnosis)-[0-9a-f]{16}\.[a-z]+")
"""What `write_atomically` names its temporary files of a run."""
_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT)


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file in the same folder, then put it in place of `path`.

    Args:
        path: The file to make or replace; its suffix is kept by the temporary file.
        write: Writes the file it is given.

    Raises:
        OSError: The folder cannot be written to, or the disk is full; the message names `path`.
    """
    temporary = path.with_name(f".{path.stem}-{secrets.token_hex(8)}{path.suffix}")
    try:
        # Not by `tempfile`, whose files nobody else may read.
        descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o666)
        try:
            with contextlib.suppress(OSError):  # where there are no locks
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            write(temporary)
            sync_file(temporary)
            temporary.replace(path)
            sync_folder(path.parent)
        finally:
            os.close(descriptor)
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise type(error)(f"{path} could not be written ({reason(error)})") from error


def remove_temporary_files(folder: Path) -> None:
    """Remove what killed processes left of the files that they were writing; one that is being written is locked."""
    for path in folder.iterdir():
        if not _TEMPORARY.fullmatch(path.name) or path.is_symlink():
            continue
        with path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            except OSError:  # no locks here, so nobody has one
                pass
            path.unlink(missing_ok=True)


def sync_file(path: Path) -> None:
    """Wait until the disk has the content of a file."""
    with path.open("rb") as file:
        _sync(file.fileno(), path)


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
    descriptor = open_folder(folder)
    try:
        _sync(descriptor, folder)
    finally:
        os.close(descriptor)


def _sync(descriptor: int, path: Path) -> None:
    """Wait for the disk; by itself its error does not name the file."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        raise OSError(error.errno, reason(error), str(path)) from error


def is_open(path: Path, descriptor: int) -> bool:
    """Whether a path names the file or folder that is open."""
    try:
        there = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return os.path.samestat(there, os.fstat(descriptor))


def open_folder(folder: Path) -> int:
    """Open a folder, so that it can be recognized when its name is gone; the caller closes the descriptor."""
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def reason(error: BaseException) -> str:
    """What went wrong in a few words: what the operating system said, if libraries have wrapped it into pages.

    Args:
        error: An error, or one that another was raised from.
    """
    for cause in _causes(error):
        if isinstance(cause, OSError) and cause.errno:
            return cause.strerror or os.strerror(cause.errno)
    text = str(error)
    said = (os.strerror(number) for number in _DISK_ERRORS)
    found = next((words for words in said if words in text), None)
    if found is None:
        found = (text.splitlines() or [""])[0].split(" [")[0].rsplit(": ", 1)[-1] or type(error).__name__
    return found if len(found) < 160 else found[:157] + "..."


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


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
        raise ValueError(f"`out` must be a folder that can be written to, got {folder} ({reason(error)})") from error
