"""Learning curves: a line for each run, with a confidence band over its seeds."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from memorax.core.text import printable
from memorax.experiment.config import RunConfig
from memorax.experiment.config_file import load_config
from memorax.experiment.imports import make_environment
from memorax.experiment.loggers import Row, read_rows
from memorax.experiment.report.statistics import STATISTICS, bootstrap_interval
from memorax.experiment.run.files import METRICS_FILE, write_atomically

RETURN = "episode/return"


@dataclasses.dataclass(frozen=True)
class Curve:
    """A metric over a run.

    Attributes:
        label: Name of the run.
        steps: Environment steps per seed at which it was logged, `[points]`.
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
    """Compute the learning curve of a run: at each step a statistic over the seeds that have a value there.

    Args:
        rows: The run's metrics.
        label: Name of the run in the legend.
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
        raise ValueError(f"`{metric}` must have a value at some step of {label} to be plotted, got none; train longer")
    function = STATISTICS[statistic]
    steps = np.array(sorted(by_step))
    scores = [np.array(by_step[step]) for step in steps]
    intervals = np.array([bootstrap_interval(values, function) for values in scores])
    center = np.array([function(values) for values in scores])
    return Curve(label, steps, center, intervals[:, 0], intervals[:, 1], len({row["seed"] for row in rows}))


def plot_runs(folders: Sequence[str | Path], out: str | Path, *, statistic: str = "mean") -> list[Curve]:
    """Plot the learning curves of runs in one figure.

    Args:
        folders: The runs' folders.
        out: File of the figure; its suffix chooses the format.
        statistic: `mean` or `iqm`, over seeds.

    Returns:
        The curves.

    Raises:
        ValueError: A folder holds no run, or a run no finished episode, or `out` does not have the suffix of an image.
    """
    folders, out = [Path(folder) for folder in folders], Path(out)
    # Not through pyplot: it would choose a backend and keep the figure.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    known = sorted(FigureCanvasAgg.filetypes)
    if out.suffix.lower().removeprefix(".") not in known:
        raise ValueError(f"`out` must end in one of .{', .'.join(known)}, got {out}; write for example {out}.png")
    configs = [load_config(folder) for folder in folders]
    labels = run_labels(folders)
    curves = []
    for folder, label in zip(folders, labels, strict=True):
        path = folder / METRICS_FILE
        curves.append(make_curve(read_rows(path), label, statistic=statistic))
    figure = Figure(figsize=(8.0, 5.0), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    draw(figure.add_subplot(), curves, configs, statistic)
    write_atomically(out, figure.savefig)
    return curves


def draw(axes: Any, curves: list[Curve], configs: list[RunConfig], statistic: str) -> None:
    """Draw curves into matplotlib axes.

    Args:
        axes: The axes.
        curves: The curves, in the order of `configs`.
        configs: The configurations of the runs.
        statistic: The statistic that the curves show.
    """
    from matplotlib.ticker import EngFormatter

    labels: dict[Any, str] = {}
    for i, curve in enumerate(curves):
        seeds = f"{curve.seeds} seeds" if curve.seeds > 1 else "1 seed"
        (line,) = axes.plot(curve.steps, curve.center, linewidth=1.8, **line_style(i))
        labels[line] = f"{curve.label} ({seeds})"
        axes.fill_between(curve.steps, curve.low, curve.high, color=line.get_color(), alpha=0.2, linewidth=0)
    for i, (curve, config) in enumerate(zip(curves, configs, strict=True)):
        for change in config.history:
            if "copied" in change and len(configs) > 1:
                continue  # of a population, which has a figure of its own
            copied = [f"copies member {change['copied']}"] if "copied" in change else []
            text = ", ".join([*copied, *(f"{name}={value:g}" for name, value in change["after"].items())])
            line = axes.axvline(change["step"], color=line_style(i)["color"], linestyle="-.", linewidth=0.8)
            labels[line] = f"{curve.label} from here on with {text}"
    tasks = {config.task(): config for config in configs}
    for memory, style in (("with", "--"), ("without", ":")):
        known = {task: best_return(config, memory=memory == "with") for task, config in tasks.items()}
        for value in sorted({value for value in known.values() if value is not None}):
            line = axes.axhline(value, color="0.4", linestyle=style, linewidth=1.2)
            where = [task.rpartition("::")[2] for task in known if known[task] == value]
            places = f" in {', '.join(where)}" if len(where) < len(tasks) else ""
            labels[line] = f"best {memory} memory{places} ({value:.3g})"
    axes.set_xlabel("environment steps per seed")
    axes.set_ylabel("mean episode return")
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    name = {"mean": "mean", "iqm": "interquartile mean"}[statistic]
    several = any(curve.seeds > 1 for curve in curves)
    statistics = f"\n{name} over seeds with 95 % bootstrap interval" if several else ""
    _write(axes.set_title("", fontsize=11), f"{', '.join(tasks)}{statistics}")
    axes.grid(alpha=0.25)
    add_legend_below(axes.figure, labels)


def line_style(number: int) -> dict[str, str]:
    """Color and style of the line of a run, so that those of forty runs are told apart."""
    return {"color": f"C{number % 10}", "linestyle": ("-", "--", "-.", ":")[number // 10 % 4]}


def add_legend(axes: Any, labels: Mapping[Any, str], **options: Any) -> None:
    """Add a legend that shows names as they are.

    Args:
        axes: The axes, or a figure.
        labels: The name of each line.
        **options: Further options of the legend.
    """
    # Labels are written afterwards: matplotlib leaves those out that begin with an underscore.
    legend = axes.legend(labels.keys(), map(str, range(len(labels))), frameon=False, **options)
    for text, label in zip(legend.get_texts(), labels.values(), strict=True):
        _write(text, label)


def add_legend_below(figure: Any, labels: Mapping[Any, str], fontsize: float = 9.0) -> None:
    """Add a legend below everything else in a figure, which grows by it: it covers nothing.

    Args:
        figure: The figure, with constrained layout.
        labels: The name of each line.
        fontsize: In points.
    """
    inches = fontsize / 72
    longest = max(map(len, labels.values()), default=0)
    columns = int(np.clip(figure.get_figwidth() / ((0.57 * longest + 4.5) * inches), 1, max(1, len(labels))))
    figure.set_figheight(figure.get_figheight() + 1.55 * inches * -(-len(labels) // columns))
    add_legend(figure, labels, loc="outside lower center", ncols=columns, fontsize=fontsize)


def _write(text: Any, content: str) -> None:
    """Let a text of a figure show names as they are, and no formulas between dollars."""
    text.set_parse_math(False)
    text.set_text(printable(content))


def best_return(config: RunConfig, *, memory: bool) -> float | None:
    """The expected return of the best policy of a run's environment, with memory or without; None if unknown."""
    try:
        env, _ = make_environment(config.env, config.env_options)
    except (ImportError, TypeError, ValueError):
        return None
    return getattr(env, "optimal_return" if memory else "memoryless_return", None)


def run_labels(folders: Sequence[Path]) -> list[str]:
    """Names of runs: those of their folders, or the whole paths where names are the same."""
    names = [folder.resolve().name for folder in folders]
    return names if len(set(names)) == len(names) else [str(folder) for folder in folders]
