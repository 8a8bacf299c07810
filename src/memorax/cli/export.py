"""`memorax export RUN --out DIR [OPTIONS]`."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import tyro

from memorax.cli.compilation_cache import keep_compiled_programs
from memorax.cli.options import ImportOptions, Step, parse
from memorax.cli.output import silence_libraries
from memorax.cli.refusal import refusing
from memorax.cli.terminal import say


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportOptions(ImportOptions):
    """Write a trained policy to a folder that is used without memorax: a program, a card and a loader."""

    run: Annotated[Path, tyro.conf.Positional]
    """Folder of the run."""
    out: Path
    """A new folder for the export, or an empty one."""
    format: Literal["stablehlo", "onnx", "safetensors"] = "stablehlo"
    """A program for JAX, one for ONNX Runtime, or the parameters alone."""
    seed: int | None = None
    """Which of the run's random seeds. None: the first."""
    step: Step = "last"
    """Which checkpoint: the newest, the best, or the one at this step."""


def run(arguments: list[str]) -> int:
    """Export; see `memorax.cli.commands` for the exit code."""
    options = parse(ExportOptions, "export", arguments)
    from memorax.experiment.imports import import_modules
    from memorax.experiment.loading import load
    from memorax.experiment.run.files import check_new_folder

    silence_libraries()
    keep_compiled_programs()
    refusing(check_new_folder, options.out)
    refusing(import_modules, options.imports)
    policy = refusing(load, options.run, seed=options.seed, step=options.step)
    export = refusing(policy.export, options.out, options.format)
    for name in (export.card["file"], "card.json", "load.py"):
        say(f"{name:<24}{(export.folder / name).stat().st_size:>12,} bytes")
    say(f"exported to {export.folder}; `load.py` there is how to use it")
    return 0
