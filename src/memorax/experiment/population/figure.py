"""The figure of a population: returns and hyperparameters of its members over time, and who copied whom."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, SubElement

import numpy as np

from memorax.experiment.changes import rewound
from memorax.experiment.config import RunConfig
from memorax.experiment.config_file import load_config
from memorax.experiment.loggers import Row, read_rows
from memorax.experiment.population.config import Population, is_population, load_population
from memorax.experiment.report.page import add, add_figure, add_section, add_table
from memorax.experiment.report.plot import RETURN
from memorax.experiment.run.files import CONFIG_FILE, METRICS_FILE, write_atomically
from memorax.experiment.run.grouping import run_hyperparameters
from memorax.experiment.space import LogUniform
from memorax.experiment.sweep.settings import write_parameters

FIGURE = "population.png"
_COLORS = 10
_NOTE = "An arrow leads from the value of the member that was copied to the one with which its copy goes on."


def member_folders(folder: Path) -> list[Path]:
    """List the folders of a population's members; the folder itself where it holds none."""
    return sorted(path.parent for path in folder.glob(f"*/{CONFIG_FILE}")) if is_population(folder) else [folder]


def plot_population(folder: Path) -> Path | None:
    """Draw a population into its folder.

    Args:
        folder: The folder.

    Returns:
        The figure; None where no member has trained yet.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    population, configs, rows = _read(folder)
    if not all(rows):
        return None
    figure = Figure(figsize=_size(population), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    draw_population(figure, population, configs, rows)
    write_atomically(folder / FIGURE, figure.savefig)
    return folder / FIGURE


def add_population(body: Element, folder: Path) -> None:
    """Add a section about a population to a page.

    Args:
        body: Body of the page.
        folder: Folder of the population.
    """
    population, configs, rows = _read(folder)
    section = add_section(body, f"population-{folder.name}", f"Population {folder.name}", _NOTE)
    if all(rows):
        draw = partial(draw_population, population=population, configs=configs, rows=rows)
        add_figure(section, draw, "Returns and hyperparameters of the members", _size(population))
    changes = [(change, member) for member, config in enumerate(configs) for change in config.history]
    table = [
        (f"{change['step']:,}", str(member), str(change["copied"]), write_parameters(change["after"]))
        for change, member in sorted(changes, key=lambda entry: entry[0]["step"])
    ]
    inside = SubElement(section, "details")
    add(inside, "summary", f"all {len(table)} copies")
    add_table(inside, ("step", "member", "copied", "goes on with"), table)


def _read(folder: Path) -> tuple[Population, list[RunConfig], list[list[Row]]]:
    members = member_folders(folder)
    rows = [read_rows(member / METRICS_FILE) for member in members]
    return load_population(folder), [load_config(member) for member in members], rows


def _size(population: Population) -> tuple[float, float]:
    """Width and height of the figure in inches."""
    return 8.0, 3.0 + 2.0 * len(population.space)


def draw_population(
    figure: Any, population: Population, configs: Sequence[RunConfig], rows: Sequence[Sequence[Row]]
) -> None:
    """Draw the members of a population: a line each, and an arrow from the one that is copied to the one that copies.

    Args:
        figure: Where.
        population: How the members learn from each other.
        configs: Their configurations, with their histories.
        rows: Their metrics.
    """
    from matplotlib.ticker import EngFormatter

    panels = figure.subplots(1 + len(population.space), 1, sharex=True, squeeze=False)[:, 0]
    returns = [_returns(of) for of in rows]
    for i, (steps, values) in enumerate(returns):
        panels[0].plot(steps, values, color=f"C{i % _COLORS}", linewidth=1.0, label=str(i))
    panels[0].set_ylabel("mean episode return")
    ends = [int(of[-1]["step"]) for of in rows]
    settings = [_settings(config, list(population.space), end) for config, end in zip(configs, ends, strict=True)]
    for axes, name in zip(panels[1:], population.space, strict=True):
        for i, (steps, values) in enumerate(settings):
            axes.step(steps, values[name], where="post", color=f"C{i % _COLORS}", linewidth=1.2)
        for config in configs:
            for change in config.history:
                source = run_hyperparameters(rewound(configs[change["copied"]], change["step"]), [name])[name]
                arrow = {"arrowstyle": "->", "color": f"C{change['copied'] % _COLORS}", "alpha": 0.6, "linewidth": 0.8}
                axes.annotate("", (change["step"], change["after"][name]), (change["step"], source), arrowprops=arrow)
        axes.set_ylabel(name, parse_math=False)
        if isinstance(population.space[name], LogUniform):
            axes.set_yscale("log")
    for axes in panels:
        axes.grid(alpha=0.25)
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    panels[-1].set_xlabel("environment steps of each member")
    if len(rows) <= _COLORS:
        panels[0].legend(title="member", frameon=False, fontsize=8, ncols=2)


def _returns(rows: Sequence[Row]) -> tuple[list[int], list[float]]:
    """The mean return over the seeds of a member, at the steps that have one."""
    by_step: dict[int, list[float]] = {}
    for row in rows:
        if RETURN in row:
            by_step.setdefault(int(row["step"]), []).append(row[RETURN])
    return list(by_step), [float(np.mean(values)) for values in by_step.values()]


def _settings(config: RunConfig, names: list[str], end: int) -> tuple[list[int], dict[str, list[float]]]:
    """What the hyperparameters of a member were, from each step on."""
    first = run_hyperparameters(rewound(config, 0), names)
    entries = [first, *(change["after"] for change in config.history)]
    steps = [0, *(change["step"] for change in config.history), end]
    return steps, {name: [*(entry[name] for entry in entries), entries[-1][name]] for name in names}
