"""Files that show a suite's results: Markdown, CSV, a picture of the curves, and one HTML page."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from memorax.experiment.benchmark.results import RESULTS_FILE, Results
from memorax.experiment.benchmark.tables import (
    METRIC_TITLES,
    Aggregate,
    aggregates,
    horizon_returns,
    provenance,
    short,
    tables,
    write_csv,
)
from memorax.experiment.report.page import add, add_figure, add_section, add_table, new_page, render
from memorax.experiment.report.plot import add_legend
from memorax.experiment.run.files import write_atomically, write_json, write_text

_COLUMNS = 4
"""Curves side by side."""


def write_tables(results: Results, folder: str | Path) -> list[Path]:
    """Write everything that shows a suite's results.

    Args:
        results: What `collect` gives.
        folder: Where to: `results.json`, `table.md`, `table.csv`, `curves.png`, `report.html`, which has all, and
            `horizons.png` where longer tasks were measured.

    Returns:
        The files.
    """
    folder = Path(folder)
    paths = [folder / name for name in (RESULTS_FILE, "table.md", "table.csv", "curves.png", "report.html")]
    write_json(paths[0], dict(results))
    write_text(paths[1], markdown(results))
    write_text(paths[2], write_csv(results))
    write_curves(results, paths[3])
    write_text(paths[4], _page(results))
    horizons = folder / "horizons.png"
    return [*paths, horizons] if write_horizons(results, horizons) else paths


def markdown(results: Results, level: int = 2) -> str:
    """All tables in Markdown, each with its title and its note, and what they were made with.

    Args:
        results: The results.
        level: Level of the headings.
    """
    parts = [f"{'#' * level} {table.title}\n\n{table.note}\n\n{table.markdown()}\n" for table in tables(results)]
    return "\n".join([*parts, provenance(results)]) + "\n"


def write_curves(results: Results, path: Path) -> None:
    """Draw the learning curves of a suite into a file, a small picture for each task."""
    _write_figure(path, partial(draw_curves, results=results), _size(results))


def write_horizons(results: Results, path: Path) -> bool:
    """Draw returns over the length of tasks into a file, if there are any; whether there are."""
    measured = _measured(results)
    if measured:
        _write_figure(path, partial(draw_horizons, results=results, measured=measured), _wide(measured))
    return bool(measured)


def draw_horizons(figure: Any, results: Results, measured: Sequence[str]) -> None:
    """Draw the mean return over the length of the task, a picture for each task that was trained in."""
    lines: dict[Any, str] = {}
    for i, task in enumerate(measured):
        axes = figure.add_subplot(1, len(measured), i + 1)
        for method, returns in horizon_returns(results, task).items():
            lengths = sorted(returns)
            known = [[x for x in returns[n]["returns"].values() if x is not None] for n in lengths]
            centers = [float(np.mean(values)) if values else np.nan for values in known]
            (line,) = axes.plot(lengths, centers, marker="o", markersize=3, linewidth=1.2, **_style(results, method))
            if method not in lines.values():
                lines[line] = method
        axes.set_xscale("log")
        axes.set_title(f"trained in {short(task)}", fontsize=9, parse_math=False)
        axes.set_xlabel("length", fontsize=9)
        axes.tick_params(labelsize=7)
        axes.grid(alpha=0.25)
    figure.supylabel("mean return of the greedy policy", fontsize=9)
    add_legend(figure, lines, loc="outside right upper", fontsize=8)


def draw_curves(figure: Any, results: Results) -> None:
    """Draw the mean return over the steps of each run, a small picture for each task; colors are those of methods."""
    from matplotlib.ticker import EngFormatter

    shown = _tasks(results)
    columns = min(_COLUMNS, len(shown))
    lines: dict[str, Any] = {}
    for i, task in enumerate(shown):
        axes = figure.add_subplot(-(-len(shown) // columns), columns, i + 1)
        for result in results["results"]:
            if result["task"] == task and result["curve"]["steps"]:
                curve, style = result["curve"], _style(results, result["method"])
                (line,) = axes.plot(curve["steps"], curve["mean"], linewidth=1.2, **style)
                lines.setdefault(result["method"], line)
        axes.set_title(short(task), fontsize=9, parse_math=False)
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.tick_params(labelsize=7)
        axes.grid(alpha=0.25)
    figure.supxlabel("environment steps per seed", fontsize=9)
    figure.supylabel("mean episode return", fontsize=9)
    ordered = {lines[name]: name for name in results["methods"] if name in lines}
    add_legend(figure, ordered, loc="outside upper center", ncols=int(figure.get_figwidth() / 1.5), fontsize=8)


def draw_aggregates(figure: Any, made: Sequence[Aggregate]) -> None:
    """Draw interquartile means over tasks with their intervals."""
    axes = figure.add_subplot()
    center = np.array([entry.iqm for entry in made])
    ends = np.array([entry.interval for entry in made])
    places = np.arange(len(made))[::-1]
    errors = np.maximum(0, np.stack([center - ends[:, 0], ends[:, 1] - center]))
    axes.errorbar(center, places, xerr=errors, fmt="o", capsize=3)
    axes.set_yticks(places, [entry.method for entry in made])
    axes.set_xlabel("interquartile mean over tasks, with 95 % interval")
    axes.grid(alpha=0.25)


def _style(results: Results, method: str) -> dict[str, str]:
    """The same color for a method in all pictures."""
    rank = list(results["methods"]).index(method)
    return {"color": f"C{rank % 10}", "linestyle": "-" if rank < 10 else "--"}


def _write_figure(path: Path, draw: Callable[[Any], object], size: tuple[float, float]) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    draw(figure)
    write_atomically(path, figure.savefig)


def _page(results: Results) -> str:
    html, body = new_page(results["title"])
    add(body, "p", provenance(results), **{"class": "note"})
    for i, table in enumerate(tables(results)):
        section = add_section(body, f"table-{i}", table.title, table.note)
        rows = [[cell.replace("*", "") for cell in row] for row in table.rows]
        add_table(section, table.header, rows)
    for steps in reversed(results["passes"]):
        made = aggregates(results, steps)
        if made:
            section = add_section(body, "aggregate", f"Over tasks, at {steps:,} steps per seed")
            add_figure(
                section, partial(draw_aggregates, made=made), "Interquartile means", (7.0, 0.5 + 0.35 * len(made))
            )
            break
    measured = _measured(results)
    if measured:
        section = add_section(body, "horizons", "Returns at other lengths", "Means over seeds.")
        shown = partial(draw_horizons, results=results, measured=measured)
        add_figure(section, shown, "Mean return of the greedy policies", _wide(measured))
    section = add_section(body, "curves", "Learning curves", "Means over seeds.")
    caption = METRIC_TITLES[results["metric"]]
    add_figure(section, partial(draw_curves, results=results), f"Curves of the table of {caption}", _size(results))
    return render(html)


def _tasks(results: Results) -> list[str]:
    """Tasks that have a curve."""
    known = {result["task"] for result in results["results"] if result["curve"]["steps"]}
    return [task for task in results["tasks"] if task in known]


def _measured(results: Results) -> list[str]:
    """Tasks that were measured at other lengths."""
    return [task for task in results["tasks"] if horizon_returns(results, task)]


def _wide(measured: Sequence[str]) -> tuple[float, float]:
    return 4.2 * len(measured) + 1.2, 3.6


def _size(results: Results) -> tuple[float, float]:
    count = max(1, len(_tasks(results)))
    return 3.0 * min(_COLUMNS, max(2, count)), 0.9 + 2.1 * -(-count // _COLUMNS)
