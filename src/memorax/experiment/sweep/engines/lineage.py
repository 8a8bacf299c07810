"""Population-based training of run folders: a member takes over the run of a better one, and goes on with other values.

The folder then holds what the better member had done until then, and the change in the `history` of its configuration.
What the member had before is kept beside it, in `NUMBER-before-STEP`.
"""

import dataclasses
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from memorax.experiment.changes import apply_changes
from memorax.experiment.config_file import load_config, save_config
from memorax.experiment.run.checkpoint import newest
from memorax.experiment.run.files import CHECKPOINTS, CONFIG_FILE, METRICS_FILE
from memorax.experiment.sweep.trials import read_trial, write_trial

_OWNER = "member.json"


@dataclasses.dataclass(frozen=True)
class Member:
    """A member of a population.

    Attributes:
        sweep: Folder of the sweep.
        name: Name of its trial.
    """

    sweep: Path
    name: str

    @property
    def folder(self) -> Path:
        """The folder of its run."""
        return self.sweep / self.name


def pack(run: Path, place: Path, name: str) -> None:
    """Copy what another member needs to go on from here.

    Args:
        run: Folder of the member's run, with a checkpoint.
        place: An empty folder.
        name: Name of the member's trial.
    """
    latest = newest(run / CHECKPOINTS)
    assert latest is not None  # noqa: S101
    for file in (CONFIG_FILE, METRICS_FILE):
        shutil.copy2(run / file, place / file)
    shutil.copytree(latest, place / CHECKPOINTS / latest.name)
    (place / _OWNER).write_text(json.dumps({"name": name, "step": int(latest.name)}), encoding="utf-8")


def adopt(member: Member, packed: Path, parameters: Mapping[str, Any]) -> None:
    """Take over what a better member has done, with other values; nothing where it is the member's own.

    A member whose run is over keeps it: Ray ranks it once more at its end, and may send it to another's checkpoint.

    Args:
        member: The member.
        packed: What `pack` made.
        parameters: The values from here on.
    """
    trial = read_trial(member.sweep, member.name)
    if trial.is_over:
        return
    owner = json.loads((packed / _OWNER).read_text(encoding="utf-8"))
    if owner["name"] == member.name or (trial.parameters == dict(parameters) and member.folder.exists()):
        return
    step = owner["step"]
    if member.folder.exists():
        before = newest(member.folder / CHECKPOINTS)
        reached = 0 if before is None else int(before.name)
        member.folder.rename(_free(member.folder.with_name(f"{member.folder.name}-before-{reached}")))
    temporary = member.folder.with_name(f".{member.folder.name}-adopted")
    shutil.rmtree(temporary, ignore_errors=True)
    shutil.copytree(packed, temporary)
    (temporary / _OWNER).unlink()
    save_config(temporary, apply_changes(load_config(temporary), parameters, step))
    temporary.rename(member.folder)
    write_trial(member.sweep, dataclasses.replace(trial, parameters=dict(parameters)))


def _free(path: Path) -> Path:
    """A name that is not taken."""
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.name}-{number}")
    return free
