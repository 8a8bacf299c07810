"""`memorax report RUN... [OPTIONS]`."""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from memorax.cli.options import ImportOptions, parse
from memorax.cli.refusal import Refusal, refusing
from memorax.cli.terminal import say


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReportOptions(ImportOptions):
    """Write a report on runs: one HTML file with curves, tables, comparisons, settings and pictures inside."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders of the runs."""
    out: Path = Path("report.html")
    """File of the report."""


def run(arguments: list[str]) -> int:
    """Report; see `memorax.cli.commands` for the exit code."""
    options = parse(ReportOptions, "report", arguments)
    from memorax.experiment.imports import import_modules
    from memorax.experiment.report.report import write_report

    if not options.runs:
        raise Refusal("`memorax report` needs the folder of a run, got none; write `memorax report runs/NAME`")
    refusing(import_modules, options.imports)
    say(f"report: {refusing(write_report, options.runs, options.out)}")
    return 0
