"""A report on a sweep as one HTML file: which settings matter, what the best are worth, and all that was tried."""

from functools import partial
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np

import memorax
from memorax.experiment.report.page import add, add_figure, add_section, add_table, interval_text, new_page, render
from memorax.experiment.report.statistics import summarize
from memorax.experiment.run.files import write_text
from memorax.experiment.sweep.config import SweepConfig, load_sweep_config
from memorax.experiment.sweep.engines.optuna_study import importance
from memorax.experiment.sweep.figures import draw_course, draw_front, draw_importance, draw_parallel
from memorax.experiment.sweep.settings import write_value
from memorax.experiment.sweep.trials import FRESH, TRIALS, Trial, best_trials, read_trials

_SHOWN = 10
"""How many of the best settings are shown at least."""
_FEWEST = 4
"""Complete trials below which importance says nothing."""


def write_sweep_report(folder: str | Path, out: str | Path) -> Path:
    """Write a report on a sweep: one HTML file with all pictures inside, which loads nothing from the network.

    Args:
        folder: The folder of the sweep, also of one that is not over yet.
        out: File of the report, ending in `.html`.

    Returns:
        The file.

    Raises:
        ValueError: The folder holds no sweep, its files are damaged, or `out` does not end in `.html`.
    """
    folder, out = Path(folder), Path(out)
    if out.suffix.lower() not in {".html", ".htm"}:
        raise ValueError(f"`out` must end in .html, got {out}; write for example {out}.html")
    config = load_sweep_config(folder)
    trials, fresh = read_trials(folder, TRIALS), read_trials(folder, FRESH)
    html, body = new_page(f"Sweep {folder.name}")
    add(body, "p", f"written by memorax {memorax.__version__}", **{"class": "note"})
    _summary(body, config, trials)
    _best(body, config, trials, fresh)
    _importance(body, config, trials)
    _pictures(body, config, trials)
    _trials(body, config, trials)
    write_text(out, render(html))
    return out


def _summary(body: Element, config: SweepConfig, trials: list[Trial]) -> None:
    run = config.run
    section = add_section(body, "sweep", "Sweep")
    states = [trial.state for trial in trials]
    goals = [f"{direction} {metric}" for metric, direction in zip(config.metric, config.direction, strict=True)]
    how = config.how() if config.scheduler == "none" else f"{config.how()} with {config.scheduler}"
    rows = [
        ("task", run.task()),
        ("agent", f"{run.algorithm} with {run.model}, {run.steps:,} steps"),
        ("goal", ", ".join(goals)),
        ("search", f"{how}, engine {config.engine}"),
        ("seeds of a trial", f"{run.seed_numbers()[0]} to {run.seed_numbers()[-1]}"),
        ("trials", ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states)) or "none yet"),
        *((f"space: {name}", str(dimension)) for name, dimension in config.space.items()),
    ]
    add_table(section, ("", ""), rows)


def _best(body: Element, config: SweepConfig, trials: list[Trial], fresh: list[Trial]) -> None:
    """The best settings, what they are worth with fresh seeds, and what the search thought of them."""
    best, first = best_trials(trials, config.direction), config.metric[0]
    again = {trial.number: trial for trial in fresh if trial.state == "complete"}
    note = (
        "The winner of a search is partly lucky with its seeds, so that its value in the search is too good. The best "
        f"settings were therefore trained again with {config.fresh_seeds} fresh seeds: those values count. In brackets "
        "95 % bootstrap intervals over seeds."
    )
    if len(config.metric) > 1:
        note += " Shown are the trials that no other is better than in all metrics; fresh values are of the first."
    section = add_section(body, "best", "Best settings", note)
    if not best:
        add(section, "p", "no trial is complete yet")
        return
    rows = []
    for trial in best[: max(_SHOWN, len(again))]:
        values = "" if trial.number not in again else _with_interval(again[trial.number])
        parameters = [write_value(trial.parameters[name]) for name in config.space]
        rows.append((trial.name, values, *(f"{value:.4g}" for value in trial.values), *parameters))
    searched = [f"{metric} in the search" for metric in config.metric]
    header = ("trial", f"{first} with fresh seeds", *searched, *config.space)
    add_table(section, header, rows, [trial.number in again for trial in best[: len(rows)]])


def _with_interval(trial: Trial) -> str:
    return interval_text(summarize(np.array(trial.per_seed)), "mean")


def _importance(body: Element, config: SweepConfig, trials: list[Trial]) -> None:
    """How much of the variation each hyperparameter explains."""
    note = (
        f"Share of the variation of {config.metric[0]} over the search space that each hyperparameter explains "
        "by itself (fANOVA), over the complete trials."
    )
    section = add_section(body, "importance", "Importance", note)
    if sum(trial.state == "complete" for trial in trials) < _FEWEST:
        add(section, "p", f"needs at least {_FEWEST} complete trials")
        return
    try:
        shares = importance(config, trials)
    except ImportError as error:
        add(section, "p", str(error))
        return
    add_figure(section, partial(draw_importance, shares=shares), "Importance of hyperparameters", (8.0, 3.0))
    add_table(section, ("hyperparameter", "importance"), [(name, f"{share:.3f}") for name, share in shares.items()])


def _pictures(body: Element, config: SweepConfig, trials: list[Trial]) -> None:
    known = [trial for trial in trials if trial.values]
    if not known:
        return
    note = "A line for each trial, from setting to setting; pruned ones are dashed, at the value they reached."
    section = add_section(body, "parallel", "Parallel coordinates", note)
    width = max(8.0, 1.6 * (len(config.space) + 1))
    draw: Any = partial(draw_parallel, config=config, trials=known)
    add_figure(section, draw, f"{config.metric[0]} by settings", (width, 4.5))
    section = add_section(body, "course", "Course of the search")
    add_figure(section, partial(draw_course, config=config, trials=known), f"{config.metric[0]} by trial")
    if len(config.metric) > 1:
        caption = f"{config.metric[1]} over {config.metric[0]}"
        add_figure(section, partial(draw_front, config=config, trials=known), caption)


def _trials(body: Element, config: SweepConfig, trials: list[Trial]) -> None:
    """Everything that was tried."""
    section = add_section(body, "trials", "Trials", "Each is an ordinary run in the folder of the sweep.")
    rows = [
        (
            trial.name,
            trial.state if trial.error is None else f"{trial.state}: {trial.error}",
            f"{trial.step:,}",
            *(f"{value:.4g}" for value in trial.values or ()),
            *[""] * (len(config.metric) - len(trial.values)),
            *(write_value(trial.parameters[name]) for name in config.space),
        )
        for trial in trials
    ]
    add_table(section, ("trial", "state", "steps", *config.metric, *config.space), rows)
