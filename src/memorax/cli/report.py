"""`memorax report RUN... [OPTIONS]`, or a sweep or a population."""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from memorax.cli.options import ImportOptions, parse
from memorax.cli.refusal import Refusal, refusing
from memorax.cli.terminal import say


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReportOptions(ImportOptions):
    """Write a report on runs or on a sweep: one HTML file with all pictures inside.

    On runs: curves, tables, comparisons, settings, pictures. On a sweep: the best settings, the importance of
    hyperparameters, parallel coordinates, all trials. On a population: its members as runs, and who copied whom.
    """

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders of the runs and populations, or that of one sweep."""
    out: Path = Path("report.html")
    """File of the report."""


def run(arguments: list[str]) -> int:
    """Report; see `memorax.cli.commands` for the exit code."""
    options = parse(ReportOptions, "report", arguments)
    from memorax.experiment.imports import import_modules
    from memorax.experiment.population.figure import member_folders
    from memorax.experiment.report.report import write_report
    from memorax.experiment.sweep.config import is_sweep
    from memorax.experiment.sweep.report import write_sweep_report

    if not options.runs:
        raise Refusal("`memorax report` needs the folder of a run, got none; write `memorax report runs/NAME`")
    refusing(import_modules, options.imports)
    sweeps = [folder for folder in options.runs if is_sweep(folder)]
    if sweeps and len(options.runs) > 1:
        raise Refusal(
            f"`memorax report` needs one sweep alone or the folders of runs, got {sweeps[0]} among "
            f"{len(options.runs)}; the runs of a sweep are in {sweeps[0] / 'trials'}"
        )
    if sweeps:
        say(f"report: {refusing(write_sweep_report, sweeps[0], options.out)}")
    else:
        runs = [member for folder in options.runs for member in member_folders(folder)]
        say(f"report: {refusing(write_report, runs, options.out)}")
    return 0
