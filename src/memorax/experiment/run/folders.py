"""The folders of runs: naming, finding, and locking them so that one process at a time writes to each."""

import fcntl
import re
from pathlib import Path

from memorax.experiment.config import RunConfig
from memorax.experiment.run.files import CONFIG_FILE, check_writable

_LOCK_FILE = ".lock"


class TakenError(ValueError):
    """A folder cannot be used: it is not empty, or another process is using it."""


class Claim:
    """A lock on a folder. The operating system releases it however the process ends.

    Args:
        folder: The folder; it is made if it is not there.

    Raises:
        TakenError: Another process is using it.
        ValueError: The folder cannot be written to.

    Attributes:
        folder: The folder.
    """

    def __init__(self, folder: Path) -> None:
        check_writable(folder)
        self.folder = folder
        # The file is not deleted on release: a process that has just opened it would lock a deleted file.
        self._file = (folder / _LOCK_FILE).open("a")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise TakenError(
                f"`out` is in use by another process, got {folder}; wait for it, stop it, or choose another `--out`"
            ) from None

    def release(self) -> None:
        """Release the lock."""
        self._file.close()


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
