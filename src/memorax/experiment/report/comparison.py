"""Comparing runs: final returns with intervals, and a verdict for each pair."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from memorax.experiment.config import RunConfig
from memorax.experiment.config_file import load_config
from memorax.experiment.loggers import Row, read_rows
from memorax.experiment.report.plot import RETURN, best_return, run_labels
from memorax.experiment.report.statistics import (
    bootstrap_interval,
    holm_adjusted,
    interquartile_mean,
    mann_whitney,
    probability_of_improvement,
    summarize,
)
from memorax.experiment.report.summary import final_numbers
from memorax.experiment.run.files import METRICS_FILE

_SIGNIFICANT = 0.05


@dataclass(frozen=True)
class RunResult:
    """What a run came to.

    Attributes:
        label: Name of the run.
        folder: Its folder.
        config: Its configuration.
        rows: Its metrics.
        scores: Mean episode return at the end of the run by seed, `[seeds]`; empty where no episode ended.
    """

    label: str
    folder: Path
    config: RunConfig
    rows: list[Row]
    scores: np.ndarray

    @property
    def method(self) -> str:
        """The algorithm and the memory model."""
        return f"{self.config.algorithm} {self.config.model}"

    def summary(self) -> dict | None:
        """Mean and interquartile mean over seeds with their intervals; None where no episode ended."""
        return summarize(self.scores) if self.scores.size else None


@dataclass(frozen=True)
class Pair:
    """Two runs of one task.

    Attributes:
        task: The task.
        first: Label of one run.
        second: Label of the other.
        difference: Mean return of the first minus that of the second.
        probability: Probability of improvement: that a seed of the first run is better than one of the second.
        interval: Its 95 % bootstrap interval.
        p_value: Of the Mann-Whitney test, adjusted for the number of pairs by Holm's method.
        verdict: A sentence.
    """

    task: str
    first: str
    second: str
    difference: float
    probability: float
    interval: tuple[float, float]
    p_value: float
    verdict: str


@dataclass(frozen=True)
class MethodScore:
    """A method over several tasks, in scores of which 0 is the best without memory and 1 the best with it.

    Attributes:
        method: Algorithm and memory model.
        tasks: How many tasks.
        scores: `[seeds, tasks]`.
        iqm: Interquartile mean over all.
        interval: Its 95 % interval, by the bootstrap stratified by task.
    """

    method: str
    tasks: int
    scores: np.ndarray
    iqm: float
    interval: tuple[float, float]


def load_results(folders: Sequence[str | Path]) -> list[RunResult]:
    """Read what runs came to.

    Args:
        folders: The runs' folders.

    Raises:
        ValueError: A folder holds no run, or its metrics are damaged.
    """
    paths = [Path(folder) for folder in folders]
    results = []
    for path, label in zip(paths, run_labels(paths), strict=True):
        config = load_config(path)
        rows = read_rows(path / METRICS_FILE)
        final = final_numbers(rows, RETURN)
        scores = np.array([] if final is None else list(final["per_seed"].values()))
        results.append(RunResult(label, path, config, rows, scores))
    return results


def compare_runs(results: Sequence[RunResult]) -> list[Pair]:
    """Compare every two runs of the same task that finished an episode.

    The verdict names a winner where the adjusted p-value is below 0.05, which needs at least four seeds of each.
    """
    pairs = [
        (a, b)
        for a, b in itertools.combinations([result for result in results if result.scores.size], 2)
        if a.config.task() == b.config.task()
    ]
    p_values = holm_adjusted([mann_whitney(a.scores, b.scores) for a, b in pairs])
    return [_pair(a, b, p) for (a, b), p in zip(pairs, p_values, strict=True)]


def _pair(a: RunResult, b: RunResult, p_value: float) -> Pair:
    probability, interval = probability_of_improvement(a.scores, b.scores)
    difference = float(a.scores.mean() - b.scores.mean())
    if p_value < _SIGNIFICANT:
        better, worse = (a, b) if probability > 0.5 else (b, a)
        verdict = f"{better.label} is better than {worse.label}"
    elif min(a.scores.size, b.scores.size) < 4:
        verdict = "undecided: at least 4 seeds of each are needed"
    else:
        verdict = "undecided"
    return Pair(a.config.task(), a.label, b.label, difference, probability, interval, p_value, verdict)


def score_methods(results: Sequence[RunResult]) -> list[MethodScore]:
    """Score methods over several tasks, best first.

    Only tasks whose best returns with and without memory are known and that every method has a run of count, with as
    many seeds as the run with the fewest; of several runs of a method in a task the first counts. Empty where fewer
    than two such tasks are left.
    """
    table: dict[str, dict[str, np.ndarray]] = {}
    for result in results:
        best, none = (best_return(result.config, memory=memory) for memory in (True, False))
        if result.scores.size and best is not None and none is not None and best != none:
            normalized = (result.scores - none) / (best - none)
            table.setdefault(result.method, {}).setdefault(result.config.task(), normalized)
    tasks = sorted(set.intersection(*(set(known) for known in table.values()))) if table else []
    if len(tasks) < 2:
        return []
    seeds = min(known[task].size for known in table.values() for task in tasks)
    found = []
    for method, known in table.items():
        scores = np.stack([known[task][:seeds] for task in tasks], axis=1)
        iqm = float(interquartile_mean(scores.reshape(-1)))
        interval = bootstrap_interval(scores, interquartile_mean)
        found.append(MethodScore(method, len(tasks), scores, iqm, interval))
    return sorted(found, key=lambda score: -score.iqm)


def all_fields(results: Sequence[RunResult]) -> dict[str, list[str]]:
    """All settings of runs: by name, the value in each run; empty text where a run does not have it."""
    flat = [_flatten(result.config) for result in results]
    names = dict.fromkeys(name for fields in flat for name in fields)
    return {name: [fields.get(name, "") for fields in flat] for name in names}


def differing_fields(results: Sequence[RunResult]) -> dict[str, list[str]]:
    """The settings in which runs differ, as `all_fields` gives them."""
    return {name: values for name, values in all_fields(results).items() if len(set(values)) > 1}


def _flatten(config: RunConfig) -> dict[str, str]:
    """The settings of a run, those of its algorithm among them, as text."""
    fields = {name: value for name, value in vars(config).items() if name != "hyperparameters"}
    changes = [
        f"from step {change['step']:,}: " + ", ".join(f"{name}={value}" for name, value in change["after"].items())
        for change in config.history
    ]
    fields |= vars(config.hyperparameters) | {"history": "; ".join(changes)}
    return {name: _setting(value) for name, value in fields.items()}


def _setting(value: Any) -> str:
    """Write a value as the command line takes it."""
    if isinstance(value, Mapping):
        return " ".join(f"{name}={x}" for name, x in value.items())
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    return f"{value:_}" if type(value) is int and value >= 10_000 else str(value)
