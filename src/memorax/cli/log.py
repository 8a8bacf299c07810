"""`memorax log RUN --to NAME ...`."""

import dataclasses
import shlex
from pathlib import Path
from typing import Annotated

import tyro

from memorax.cli.options import ImportOptions, parse
from memorax.cli.refusal import refusing
from memorax.cli.terminal import say


@dataclasses.dataclass(frozen=True, kw_only=True)
class LogOptions(ImportOptions):
    """Send the metrics of a run to other loggers afterwards."""

    run: Annotated[Path, tyro.conf.Positional]
    """Folder of the run."""
    to: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME ...")]
    """Loggers, one or several: `tensorboard`, `wandb`, `trackio`."""


_VIEWERS = {
    "tensorboard": ("tensorboard --logdir {folder}", "show them; needs `pip install tensorboard`"),
    "trackio": ("trackio show --project memorax", "show them"),
}
"""How to look at what a logger has, by its name."""


def run(arguments: list[str]) -> int:
    """Convert the metrics; see `memorax.cli.commands` for the exit code."""
    options = parse(LogOptions, "log", arguments)
    from memorax.experiment.imports import import_modules
    from memorax.experiment.log_run import log_run

    refusing(import_modules, options.imports)
    count = refusing(log_run, options.run, options.to)
    say(f"gave {count:,} rows of {options.run} to {', '.join(options.to)}")
    viewers = [_VIEWERS[name] for name in options.to if name in _VIEWERS]
    if "wandb" in options.to and any(options.run.glob("wandb/offline-run-*")):
        viewers.append(("wandb sync {folder}/wandb/offline-run-*", "upload what was logged offline"))
    if viewers:
        say("next:")
    for command, purpose in viewers:
        say(f"  {command.format(folder=shlex.quote(str(options.run)))}  # {purpose}")
    return 0
