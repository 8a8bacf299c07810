"""The folders of runs: naming, finding, and locking them so that one process at a time writes to each."""

import contextlib
import errno
import fcntl
import json
import os
import re
import socket
from pathlib import Path

from memorax.experiment.config import RunConfig
from memorax.experiment.run.files import CONFIG_FILE, check_writable, reason

_LOCK_FILE = ".lock"
_HELD_FILE = ".lock-held"
"""There while a process uses the folder, on file systems without locks."""
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


class TakenError(ValueError):
    """A folder cannot be used: it is not empty, or another process is using it."""


class Claim:
    """A lock on a folder. The operating system releases it however the process ends.

    A file system without locks gets a file `.lock-held` instead, which names the process and stays if it is killed. On
    the same machine the next process removes it then, on another one a person has to.

    Args:
        folder: The folder; it is made if it is not there.

    Raises:
        TakenError: Another process is using it.
        ValueError: The folder cannot be written to, or its lock is something else than a file.

    Attributes:
        folder: The folder.
        warnings: What the user should know about the lock.
    """

    def __init__(self, folder: Path) -> None:
        check_writable(folder)
        self.folder = folder
        self.warnings: list[str] = []
        self._held: Path | None = None
        path = folder / _LOCK_FILE
        try:
            # The file is not deleted on release: a process that has just opened it would lock a deleted file.
            self._file = open(path, "a", opener=_open_no_link)  # noqa: SIM115  it stays open
        except OSError as error:
            raise ValueError(
                f"`{path}` must be a plain file, got something else ({reason(error)}); delete it"
            ) from error
        try:
            self._lock()
        except BaseException:
            self._file.close()
            raise

    def release(self) -> None:
        """Release the lock."""
        if self._held is not None:
            self._held.unlink(missing_ok=True)
        self._file.close()

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TakenError(
                f"`out` is in use by another process, got {self.folder}; "
                "wait for it, stop it, or choose another `--out`"
            ) from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            held = self.folder / _HELD_FILE
            _hold(held)
            self._held = held
            self.warnings.append(
                f"the file system of {self.folder} has no locks ({reason(error)}); {held} keeps other processes out, "
                "and has to be deleted if this one is killed and the run is resumed on another machine"
            )


def _open_no_link(path: str, flags: int) -> int:
    """Open a file; a symbolic link is refused, and a pipe is not waited for."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)


def _hold(path: Path) -> None:
    """Make a file that only one process can make.

    Raises:
        TakenError: Another process has made it, and may still be there.
    """
    me = json.dumps({"host": socket.gethostname(), "process": os.getpid()})
    owner = "another process"
    for _ in range(2):
        try:
            with path.open("x") as file:
                file.write(me)
            return
        except FileExistsError:
            owner = _remove_if_ended(path)
    raise TakenError(
        f"`out` is in use by {owner}, got {path.parent}; wait for it, stop it, or choose another `--out`. "
        f"The file system has no locks, so if that process has ended, delete {path}"
    )


def _remove_if_ended(path: Path) -> str:
    """Remove the file of a process of this machine that has ended; describe its owner."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        text = path.read_text(encoding="utf-8")
        found = json.loads(text)
        host, process = str(found["host"]), int(found["process"])
        if host == socket.gethostname() and not _is_running(process):
            # By a rename, so that of several only one takes it, and what another has made meanwhile is put back.
            aside = path.with_name(f"{path.name}-{os.getpid()}")
            path.rename(aside)
            if aside.read_text(encoding="utf-8") != text:
                os.link(aside, path)
            aside.unlink()
        return f"process {process} on {host}"
    return "another process"


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def claim_empty(folder: Path) -> Claim:
    """Lock an empty folder.

    Raises:
        TakenError: It is not empty, or another process is using it.
        ValueError: It cannot be written to.
    """
    _refuse_full(folder)
    claim = Claim(folder)
    try:
        _refuse_full(folder)  # again: another process may have come and gone
    except TakenError:
        claim.release()
        raise
    return claim


def claim_free(base: Path) -> Claim:
    """Lock the first folder that is empty and not in use: `base`, `base-2`, `base-3`, ...

    Raises:
        ValueError: It cannot be written to.
    """
    number, folder = 1, base
    while True:
        try:
            return claim_empty(folder)
        except TakenError:
            number += 1
            folder = base.with_name(f"{base.name}-{number}")


def default_folder(config: RunConfig) -> Path:
    """Give the default folder of a run."""
    name = f"{config.algorithm}-{config.task()}-{config.model}"
    return Path("runs") / re.sub(r"[^A-Za-z0-9._=-]+", "-", name)


def latest_folder(base: Path) -> Path:
    """Find the newest of the folders that `claim_free` has made; `base` if there is none."""
    numbered = [p for p in base.parent.glob(f"{base.name}-*") if p.name[len(base.name) + 1 :].isdigit()]
    runs = [p for p in (base, *numbered) if (p / CONFIG_FILE).is_file()]
    return max(runs, key=lambda p: int(p.name[len(base.name) + 1 :] or 1), default=base)


def holds_something(folder: Path) -> bool:
    """Whether a folder holds anything besides temporary files of a killed process."""
    return folder.exists() and (not folder.is_dir() or any(not p.name.startswith(".") for p in folder.iterdir()))


def _refuse_full(folder: Path) -> None:
    if holds_something(folder):
        raise TakenError(
            f"`out` must be an empty or a new folder, got {folder}, which holds something; "
            "resume the run in it with `--resume`, or choose another `--out`"
        )
