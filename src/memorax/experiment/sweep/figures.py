"""The figures of a report on a sweep."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from memorax.experiment.report.plot import add_legend_below
from memorax.experiment.space import Choice, Dimension, LogUniform
from memorax.experiment.sweep.config import SweepConfig
from memorax.experiment.sweep.settings import write_value
from memorax.experiment.sweep.trials import Trial, best_trials


def height(dimension: Dimension, value: Any) -> float:
    """Where a value is on its axis, from 0 at the bottom to 1 at the top."""
    if isinstance(dimension, Choice):
        return dimension.values.index(value) / (len(dimension.values) - 1)
    low, high = dimension.low, dimension.high
    if isinstance(dimension, LogUniform):
        low, high, value = np.log(low), np.log(high), np.log(value)
    return float((value - low) / (high - low))


def draw_parallel(figure: Any, config: SweepConfig, trials: Sequence[Trial]) -> None:
    """Draw a line for each trial over an axis for each hyperparameter and one for the metric.

    Args:
        figure: Where.
        config: The sweep.
        trials: Trials with values.
    """
    from matplotlib import colormaps

    axes = figure.add_subplot()
    scores = np.array([trial.values[0] for trial in trials])
    low, high = float(scores.min()), float(scores.max())
    span = high - low or 1.0
    good = (scores - low) / span if config.direction[0] == "maximize" else (high - scores) / span
    for i in np.argsort(good):  # the best on top
        trial = trials[i]
        heights = [height(dimension, trial.parameters[name]) for name, dimension in config.space.items()]
        axes.plot(
            [*heights, (trial.values[0] - low) / span],
            color=colormaps["viridis"](good[i]),
            alpha=0.35 + 0.65 * float(good[i]),
            linewidth=1.0 + 1.2 * float(good[i]),
            linestyle="--" if trial.state == "pruned" else "-",
        )
    for x, dimension in enumerate(config.space.values()):
        values = dimension.values if isinstance(dimension, Choice) else (dimension.low, dimension.high)
        for value in values:
            _label(axes, x, height(dimension, value), write_value(value))
    for value in (low, high):
        _label(axes, len(config.space), (value - low) / span, f"{value:.3g}")
    axes.set_xticks(range(len(config.space) + 1))
    axes.set_xticklabels([*config.space, config.metric[0]], rotation=15, ha="right", parse_math=False)
    for x in range(len(config.space) + 1):
        axes.axvline(x, color="0.6", linewidth=0.8, zorder=0)
    axes.set(yticks=[], ylim=(-0.05, 1.05), xlim=(-0.15, len(config.space) + 0.35))
    axes.spines[:].set_visible(False)


def draw_importance(figure: Any, shares: Mapping[str, float]) -> None:
    """Draw a bar for each hyperparameter, the most important on top."""
    axes = figure.add_subplot()
    names = list(shares)[::-1]
    axes.barh(range(len(names)), [shares[name] for name in names], color="C0")
    axes.set_yticks(range(len(names)))
    axes.set_yticklabels(names, parse_math=False)
    axes.set(xlabel="importance", xlim=(0, 1), axisbelow=True)
    axes.grid(alpha=0.25, axis="x")


def draw_course(figure: Any, config: SweepConfig, trials: Sequence[Trial]) -> None:
    """Draw the first metric of each trial by its number, and the best so far."""
    axes, labels = figure.add_subplot(), dict[Any, str]()
    for state, marker in (("complete", "o"), ("pruned", "x")):
        found = [trial for trial in trials if trial.state == state]
        points = [trial.number for trial in found], [trial.values[0] for trial in found]
        if found:
            (lines,) = axes.plot(*points, marker, markersize=4)
            labels[lines] = state
    complete = [trial for trial in trials if trial.state == "complete"]
    if complete:
        best = np.maximum if config.direction[0] == "maximize" else np.minimum
        values = best.accumulate([trial.values[0] for trial in complete])
        (lines,) = axes.step([trial.number for trial in complete], values, where="post", color="C2")
        labels[lines] = "best so far"
    axes.set(xlabel="trial")
    axes.set_ylabel(config.metric[0], parse_math=False)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.25)
    add_legend_below(figure, labels)


def draw_front(figure: Any, config: SweepConfig, trials: Sequence[Trial]) -> None:
    """Draw two metrics against each other, and mark the trials that no other is better than in all metrics."""
    axes = figure.add_subplot()
    front = {trial.name for trial in best_trials(trials, config.direction)}
    for trial in trials:
        axes.plot(*trial.values[:2], "o", color="C3" if trial.name in front else "0.6", markersize=5)
    axes.set_xlabel(config.metric[0], parse_math=False)
    axes.set_ylabel(config.metric[1], parse_math=False)
    axes.grid(alpha=0.25)


def _label(axes: Any, x: float, y: float, text: str) -> None:
    box = {"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1.0}
    axes.text(x + 0.03, y, text, fontsize=8, va="center", parse_math=False, bbox=box)
