"""The figure of a population: returns and hyperparameters of its members over time, and who copied whom."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from memorax.experiment.changes import rewound
from memorax.experiment.config import RunConfig
from memorax.experiment.config_file import load_config
from memorax.experiment.loggers import Row, read_rows
from memorax.experiment.population.config import Population, is_population, load_population
from memorax.experiment.report.plot import RETURN
from memorax.experiment.run.files import CONFIG_FILE, METRICS_FILE, write_atomically
from memorax.experiment.run.grouping import run_hyperparameters
from memorax.experiment.sweep.space import LogUniform

FIGURE = "population.png"
_COLORS = 10


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

    population, folders = load_population(folder), member_folders(folder)
    rows = [read_rows(member / METRICS_FILE) for member in folders]
    if not all(rows):
        return None
    figure = Figure(figsize=(8.0, 3.0 + 2.0 * len(population.space)), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    draw_population(figure, population, [load_config(member) for member in folders], rows)
    write_atomically(folder / FIGURE, figure.savefig)
    return folder / FIGURE


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
    ends = [of[-1]["step"] for of in rows]
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
