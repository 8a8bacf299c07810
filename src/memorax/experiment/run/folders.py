"""The folders of runs: how they are named and found, and how each is kept to one process at a time."""

import fcntl
import re
from pathlib import Path

from memorax.experiment.config import RunConfig
from memorax.experiment.run.files import CONFIG_FILE, check_writable

_LOCK_FILE = ".lock"


class TakenError(ValueError):
    """A folder cannot be had: it holds something, or another process works in it."""


class Claim:
    """The right to write into a folder. However the process ends, the operating system takes it back.

    Args:
        folder: The folder; it is made if it is not there.

    Raises:
        TakenError: Another process has it.
        ValueError: The folder cannot be written to.

    Attributes:
        folder: The folder.
    """

    def __init__(self, folder: Path) -> None:
        check_writable(folder)
        self.folder = folder
        # The file stays when the claim is released: whoever opened it meanwhile would else hold one that is gone.
        self._file = (folder / _LOCK_FILE).open("a")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise TakenError(
                f"`out` is in use by another process, got {folder}; wait for it, stop it, or choose another `--out`"
            ) from None

    def release(self) -> None:
        """Give the folder back."""
        self._file.close()


def claim_empty(folder: Path) -> Claim:
    """Claim a folder that holds nothing.

    Raises:
        TakenError: It holds something, or another process has it.
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
    """Claim the first folder that nobody has and that holds nothing: `base`, else `base-2`, `base-3`, ...

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
    """Name the folder of a run that was not given one."""
    name = f"{config.algorithm}-{config.task()}-{config.model}"
    return Path("runs") / re.sub(r"[^A-Za-z0-9._=-]+", "-", name)


def latest_folder(base: Path) -> Path:
    """Find the newest of the folders that `claim_free` gave out; `base` where there is none."""
    numbered = [p for p in base.parent.glob(f"{base.name}-*") if p.name[len(base.name) + 1 :].isdigit()]
    runs = [p for p in (base, *numbered) if (p / CONFIG_FILE).is_file()]
    return max(runs, key=lambda p: int(p.name[len(base.name) + 1 :] or 1), default=base)


def holds_something(folder: Path) -> bool:
    """Whether a folder holds a file that is not merely the temporary one of a killed process."""
    return folder.exists() and (not folder.is_dir() or any(not p.name.startswith(".") for p in folder.iterdir()))


def _refuse_full(folder: Path) -> None:
    if holds_something(folder):
        raise TakenError(
            f"`out` must be an empty or a new folder, got {folder}, which holds something; "
            "go on with the run in it by `--resume`, or choose another `--out`"
        )
