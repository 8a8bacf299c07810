"""`memorax compare RUN... [OPTIONS]`."""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro
from rich.table import Table
from rich.text import Text

from memorax.cli.options import ImportOptions, parse
from memorax.cli.output import make_console
from memorax.cli.refusal import Refusal, refusing
from memorax.cli.terminal import say


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompareOptions(ImportOptions):
    """Compare runs in the terminal: final returns with intervals, differing settings, a verdict for each pair."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders of the runs."""


def run(arguments: list[str]) -> int:
    """Compare; see `memorax.cli.commands` for the exit code."""
    options = parse(CompareOptions, "compare", arguments)
    from memorax.experiment.imports import import_modules
    from memorax.experiment.report.comparison import compare_runs, differing_fields, load_results
    from memorax.experiment.report.page import interval_text

    if len(options.runs) < 2:
        raise Refusal(
            f"`memorax compare` needs the folders of at least two runs, got {len(options.runs)}; write "
            "`memorax compare runs/ONE runs/OTHER`"
        )
    refusing(import_modules, options.imports)
    results = refusing(load_results, options.runs)
    table = Table("run", "task", "seeds", "mean return", "interquartile mean", title="final episode returns")
    for result in results:
        summary = result.summary()
        numbers = ["no episode ended", ""] if summary is None else [interval_text(summary, x) for x in ("mean", "iqm")]
        _add_row(table, result.label, result.config.task(), str(result.config.seeds), *numbers)
    console = make_console()
    console.print(table)
    differing = differing_fields(results)
    if differing:
        table = Table("setting", title="differing settings")
        for result in results:
            table.add_column(Text(result.label))
        for name, values in differing.items():
            _add_row(table, name, *values)
        console.print(table)
    for pair in compare_runs(results):
        low, high = pair.interval
        say(
            f"{pair.first} against {pair.second}: {pair.verdict} (difference {pair.difference:+.3f}, probability of "
            f"improvement {pair.probability:.2f} [{low:.2f}, {high:.2f}], p = {pair.p_value:.3f})"
        )
    return 0


def _add_row(table: Table, *cells: str) -> None:
    """Add a row whose text is shown as it is."""
    table.add_row(*(Text(cell) for cell in cells))
