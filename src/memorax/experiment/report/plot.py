"""Learning curves: one line for each run, with a band over its seeds."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from memorax.experiment.config import RunConfig, load_config
from memorax.experiment.loggers import Row, read_rows
from memorax.experiment.report.statistics import STATISTICS, bootstrap_interval
from memorax.experiment.run.files import METRICS_FILE, write_atomically

RETURN = "episode/return"


@dataclasses.dataclass(frozen=True)
class Curve:
    """A metric over a run.

    Attributes:
        label: What the run is called.
        steps: Where it was logged, `[points]`.
        center: The statistic over seeds, `[points]`.
        low: Lower end of its 95 % interval, `[points]`.
        high: Upper end, `[points]`.
        seeds: How many seeds it is over.
    """

    label: str
    steps: np.ndarray
    center: np.ndarray
    low: np.ndarray
    high: np.ndarray
    seeds: int


def make_curve(rows: list[Row], label: str, *, statistic: str = "mean", metric: str = RETURN) -> Curve:
    """Put the curve of a run together, over those seeds that have a value at a step.

    Args:
        rows: The run's metrics.
        label: What to call it.
        statistic: `mean` or `iqm`.
        metric: Which metric.

    Raises:
        ValueError: No row has the metric, or the statistic is unknown.
    """
    if statistic not in STATISTICS:
        raise ValueError(f"`statistic` must be one of {', '.join(STATISTICS)}, got {statistic}")
    by_step: dict[int, list[float]] = {}
    for row in rows:
        if metric in row:
            by_step.setdefault(int(row["step"]), []).append(row[metric])
    if not by_step:
        raise ValueError(f"`{metric}` must have a value at some step of {label} to be drawn, got none; train longer")
    function = STATISTICS[statistic]
    steps = np.array(sorted(by_step))
    scores = [np.array(by_step[step]) for step in steps]
    intervals = np.array([bootstrap_interval(values, function) for values in scores])
    center = np.array([function(values) for values in scores])
    return Curve(label, steps, center, intervals[:, 0], intervals[:, 1], len({row["seed"] for row in rows}))


def plot_runs(folders: list[Path], out: Path, *, statistic: str = "mean") -> list[Curve]:
    """Draw the learning curves of runs side by side.

    Args:
        folders: The runs' folders.
        out: The picture; its suffix says the format.
        statistic: `mean` or `iqm`, over seeds.

    Returns:
        What was drawn.

    Raises:
        ValueError: A folder holds no run, or a run no finished episode, or `out` has no suffix of a picture.
    """
    # Not through pyplot: it would choose a backend and keep the figure.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    known = sorted(FigureCanvasAgg.filetypes)
    if out.suffix.lower().removeprefix(".") not in known:
        raise ValueError(f"`out` must end in one of .{', .'.join(known)}, got {out}; write for example {out}.png")
    configs = [load_config(folder) for folder in folders]
    labels = _labels(folders)
    curves = []
    for folder, label in zip(folders, labels, strict=True):
        path = folder / METRICS_FILE
        curves.append(make_curve(read_rows(path) if path.exists() else [], label, statistic=statistic))
    figure = Figure(figsize=(8.0, 5.0), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    draw(figure.add_subplot(), curves, configs, statistic)
    write_atomically(out, figure.savefig)
    return curves


def draw(axes: Any, curves: list[Curve], configs: list[RunConfig], statistic: str) -> None:
    """Draw curves into matplotlib axes.

    Args:
        axes: Where to.
        curves: What was measured, in the order of `configs`.
        configs: The runs.
        statistic: What the curves show.
    """
    from matplotlib.ticker import EngFormatter

    for curve in curves:
        (line,) = axes.plot(curve.steps, curve.center, label=f"{curve.label} ({curve.seeds} seeds)", linewidth=1.8)
        axes.fill_between(curve.steps, curve.low, curve.high, color=line.get_color(), alpha=0.2, linewidth=0)
    tasks = {config.task(): config for config in configs}
    for memory, style in (("with", "--"), ("without", ":")):
        known = [best_return(config, memory=memory == "with") for config in tasks.values()]
        for value in sorted({value for value in known if value is not None}):
            label = f"best {memory} memory ({value:.3g})"
            axes.axhline(value, color="0.4", linestyle=style, linewidth=1.2, label=label)
    axes.set_xlabel("environment steps of each seed")
    axes.set_ylabel("return of an episode (sum of rewards)")
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    name = {"mean": "mean", "iqm": "interquartile mean"}[statistic]
    axes.set_title(f"{', '.join(tasks)}\n{name} over seeds with its 95 % bootstrap interval", fontsize=11)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)


def best_return(config: RunConfig, *, memory: bool) -> float | None:
    """What is the most that can be expected of a run, with memory or without; None where it is not known."""
    from memorax.environments import make

    try:
        env, _ = make(config.env, **config.env_options)
    except (ImportError, TypeError, ValueError):
        return None
    return getattr(env, "optimal_return" if memory else "memoryless_return", None)


def _labels(folders: list[Path]) -> list[str]:
    names = [folder.resolve().name for folder in folders]
    return names if len(set(names)) == len(names) else [str(folder) for folder in folders]
