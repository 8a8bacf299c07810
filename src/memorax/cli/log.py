"""`memorax log RUN --to NAME ...`."""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from memorax.cli.options import ImportOptions, parse
from memorax.cli.refusal import refusing
from memorax.cli.terminal import say


@dataclasses.dataclass(frozen=True, kw_only=True)
class LogOptions(ImportOptions):
    """Give the metrics of a run to other loggers afterwards."""

    run: Annotated[Path, tyro.conf.Positional]
    """Folder of the run."""
    to: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME ...")]
    """Loggers, one or several: `tensorboard`, `wandb`, `trackio`."""


def run(arguments: list[str]) -> int:
    """Convert the metrics; see `memorax.cli.commands` for the exit code."""
    options = parse(LogOptions, "log", arguments)
    from memorax.experiment.imports import import_modules
    from memorax.experiment.log_run import log_run

    refusing(import_modules, options.imports)
    count = refusing(log_run, options.run, options.to)
    say(f"gave {count:,} rows of {options.run} to {', '.join(options.to)}")
    return 0
