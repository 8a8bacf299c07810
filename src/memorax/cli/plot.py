"""`memorax plot RUN... [OPTIONS]`."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import tyro

from memorax.cli.options import ImportOptions, parse
from memorax.cli.refusal import Refusal, refusing
from memorax.cli.terminal import say


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlotOptions(ImportOptions):
    """Plot the learning curves of runs in one figure."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders of the runs, or of populations, whose members are runs."""
    out: Path | None = None
    """File of the figure. None: `learning_curve.png` in the folder of a single run, `learning_curves.png` in the
    current folder for several."""
    statistic: Literal["mean", "iqm"] = "mean"
    """Statistic over seeds: the mean, or the interquartile mean."""


def run(arguments: list[str]) -> int:
    """Plot; see `memorax.cli.commands` for the exit code."""
    options = parse(PlotOptions, "plot", arguments)
    from memorax.experiment.imports import import_modules
    from memorax.experiment.population.figure import member_folders
    from memorax.experiment.report.plot import plot_runs
    from memorax.experiment.run.files import CURVE_FILE

    if not options.runs:
        raise Refusal("`memorax plot` needs the folder of at least one run, got none; write `memorax plot runs/NAME`")
    refusing(import_modules, options.imports)
    runs = [member for folder in options.runs for member in member_folders(folder)]
    single = runs[0] / CURVE_FILE if len(runs) == 1 else Path("learning_curves.png")
    out = options.out or single
    refusing(plot_runs, runs, out, statistic=options.statistic)
    say(f"learning curve: {out}")
    return 0
