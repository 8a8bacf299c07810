"""When the folder of a run is lost or its disk fails: what is kept, where it is, and how the run goes on."""

import contextlib
import errno
import fcntl
import os
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

from memorax.experiment.config import RunConfig
from memorax.experiment.config_file import save_config
from memorax.experiment.run.checkpoint import CheckpointWriter, holds_only_left_overs, newest
from memorax.experiment.run.files import (
    CHECKPOINTS,
    CONFIG_FILE,
    METRICS_FILE,
    is_open,
    open_folder,
    reason,
    write_atomically,
)
from memorax.experiment.run.folders import claim_free


class FolderLostError(OSError):
    """A run's folder, or a part of it, was removed or moved while the run trained; the message says what is kept."""


class Watch:
    """Notices that a run's folder, or a part of it, is removed or moved while the run trains.

    Args:
        folder: The folder, with configuration, metrics and checkpoints.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        # What is open stays readable, and can be found, when its name is gone.
        self._folder, self._checkpoints = open_folder(folder), open_folder(folder / CHECKPOINTS)
        self._metrics = (folder / METRICS_FILE).open("rb")

    def missing(self, folder: Path) -> list[str]:
        """The parts that are not in a folder, or are others there."""
        parts = {METRICS_FILE: self._metrics.fileno(), CHECKPOINTS: self._checkpoints}
        gone = [name for name, descriptor in parts.items() if not is_open(folder / name, descriptor)]
        return gone if (folder / CONFIG_FILE).exists() else [CONFIG_FILE, *gone]

    def is_intact(self) -> bool:
        """Whether everything is where it was."""
        return is_open(self.folder, self._folder) and not self.missing(self.folder)

    def place(self) -> Path | None:
        """Where the folder is now; None if it was removed, or if the system cannot tell."""
        if is_open(self.folder, self._folder):
            return self.folder
        found = _name_of(self._folder)
        return found if found is not None and is_open(found, self._folder) else None

    def metrics(self) -> bytes:
        """The content of the metrics, also if they were removed."""
        self._metrics.seek(0)
        return self._metrics.read()

    def close(self) -> None:
        """Release the files."""
        os.close(self._folder)
        os.close(self._checkpoints)
        self._metrics.close()


def rescue(watch: Watch, config: RunConfig, save: Callable[[CheckpointWriter, Path], None], step: int) -> str:
    """Save a run whose folder was removed or moved, or lost a part: where it is now, or else in a new folder beside it.

    Args:
        watch: What is left of the folder.
        config: The run.
        save: Saves the state at this step by a writer, given the metrics that belong to it.
        step: Environment steps that each seed has been trained for.

    Returns:
        What happened, what is kept and how to go on.
    """
    place = watch.place()
    if place == watch.folder:
        what = f"{' and '.join(watch.missing(watch.folder))} in {watch.folder} was removed or replaced"
    else:
        what = f"{watch.folder} was {'removed' if place is None else f'moved to {place}'}"
    what = f"{what} while the run trained"
    claim = None
    try:
        if place is None:
            claim = claim_free(watch.folder.with_name(f"{watch.folder.name}-rescued"))
        folder = place if claim is None else claim.folder
        assert folder is not None  # noqa: S101
        missing = watch.missing(folder)
        if CONFIG_FILE in missing:
            save_config(folder, config)
        if METRICS_FILE in missing:
            content = watch.metrics()
            write_atomically(folder / METRICS_FILE, lambda temporary: temporary.write_bytes(content))
        writer = CheckpointWriter(folder / CHECKPOINTS)
        with contextlib.closing(writer):
            save(writer, folder / METRICS_FILE)
        if folder != watch.folder:
            _remove_ghost(watch.folder)
    except (OSError, ValueError) as error:
        return f"{what}, and what was left of it could not be saved elsewhere ({reason(error)})"
    finally:
        if claim is not None:
            claim.release()
    return f"{what}; everything up to step {step:,} is saved in {folder}, {_go_on(folder)}"


def _remove_ghost(folder: Path) -> None:
    """Remove what a save under way has made anew in the old place, if there is nothing else."""
    with contextlib.suppress(OSError):
        if [path.name for path in folder.iterdir()] == [CHECKPOINTS] and holds_only_left_overs(folder / CHECKPOINTS):
            shutil.rmtree(folder)


def explain(error: OSError, folder: Path) -> str:
    """Say what failed, what is safe, and how to go on.

    Args:
        error: Why a run cannot write.
        folder: The run's folder.
    """
    safe = "there is no checkpoint yet"
    with contextlib.suppress(OSError):
        latest = newest(folder / CHECKPOINTS)
        if latest is not None:
            safe = f"everything up to step {int(latest.name):,} is safe, the last good checkpoint is {latest}"
    full = {os.strerror(errno.ENOSPC), os.strerror(errno.EDQUOT)}
    return f"{error}; {safe}; {'make room on the disk, then ' if reason(error) in full else ''}{_go_on(folder)}"


def explain_summary(error: OSError, folder: Path) -> str:
    """Say that a run is complete although its summary could not be written."""
    return f"{error}; the run itself is complete and saved; to write its summary {_go_on(folder)}"


def _go_on(folder: Path) -> str:
    return f"resume with: memorax train --resume --out {shlex.quote(str(folder))}"


def _name_of(descriptor: int) -> Path | None:
    """Ask the system for the name of an open folder: Linux by a link, macOS by a call."""
    with contextlib.suppress(OSError):
        return Path(os.readlink(f"/proc/self/fd/{descriptor}"))
    call = getattr(fcntl, "F_GETPATH", None)
    if call is not None:
        with contextlib.suppress(OSError):
            return Path(os.fsdecode(fcntl.fcntl(descriptor, call, bytes(1024)).rstrip(b"\0")))
    return None
