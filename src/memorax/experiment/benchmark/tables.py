"""Tables of a suite's results: scores by task and method, aggregates over tasks, returns in longer tasks."""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from memorax.experiment.benchmark.results import Results
from memorax.experiment.report.statistics import (
    bootstrap_interval,
    interquartile_mean,
    probability_of_improvement,
)

_NOTHING = ""
_ENOUGH = 0.5
"""Which share of the tasks of the most complete method another must have finished to be compared over tasks."""


@dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes:
        title: What it shows.
        note: How to read it.
        header: Names of the columns.
        rows: Cells, a row each.
    """

    title: str
    note: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """The table in Markdown, without its title."""
        lines = [self.header, ("---",) * len(self.header), *self.rows]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)


@dataclass(frozen=True)
class Aggregate:
    """A method over all tasks that every method has finished.

    Attributes:
        method: Its name.
        scores: `[seeds, tasks]`.
        iqm: Interquartile mean.
        interval: Its 95 % interval, by the bootstrap stratified by task.
        improvement: Probability of improvement over the reference, averaged over tasks, and its interval; None for the
            reference itself.
    """

    method: str
    scores: np.ndarray
    iqm: float
    interval: tuple[float, float]
    improvement: tuple[float, tuple[float, float]] | None


def tables(results: Results) -> list[Table]:
    """All tables of a suite's results, those at the most steps first."""
    made: list[Table] = []
    for steps in reversed(results["passes"]):
        if cell_scores(results, steps):
            made.append(score_table(results, steps))
            if aggregates(results, steps):
                made.append(aggregate_table(results, steps))
    return made + horizon_tables(results)


def score_table(results: Results, steps: int) -> Table:
    """The scores by task and method at a pass: means over seeds with 95 % intervals, the best of a row bold."""
    found, failed = cell_scores(results, steps), _failed(results)
    columns = list(dict.fromkeys(name for task in results["published"].values() for name in task))
    rows = []
    for task in results["tasks"]:
        own = {method: found[task, method] for method in results["methods"] if (task, method) in found}
        if not own and not any(known == task for known, _ in failed):
            continue
        best = max((scores.mean() for scores in own.values()), default=np.nan)
        cells = []
        for method in results["methods"]:
            if method in own:
                text = with_interval(own[method], results["metric"])
                cells.append(f"**{text}**" if len(own) > 1 and own[method].mean() == best else text)
            else:
                cells.append("diverged" if (task, method) in failed else _NOTHING)
        published = results["published"].get(task, {})
        rows.append((short(task), *cells, *(_published(published.get(name)) for name in columns)))
    seeds = sorted({len(scores) for scores in found.values()})
    return Table(
        f"{METRIC_TITLES[results['metric']]} at {steps:,} steps per seed",
        _score_note(results, seeds),
        ("task", *results["methods"], *columns),
        tuple(rows),
    )


def aggregates(results: Results, steps: int) -> list[Aggregate]:
    """Methods over the tasks that all of them have finished, best first; empty with fewer than two of either.

    Also empty where the scores of tasks are on different scales. A method that has finished less than half of the tasks
    of the one with the most is left out: with it, few tasks would be left.

    Args:
        results: The results.
        steps: The pass.
    """
    found = cell_scores(results, steps)
    finished = {method: sum(known == method for _, known in found) for method in results["methods"]}
    methods = [m for m, count in finished.items() if count >= _ENOUGH * max(finished.values()) and count]
    tasks = [task for task in results["tasks"] if all((task, method) in found for method in methods)]
    comparable = results.get("one_scale", True) and results["metric"] != "speed"
    if min(len(tasks), len(methods)) < 2 or not comparable:
        return []
    seeds = min(found[task, method].size for task in tasks for method in methods)
    scores = {method: np.stack([found[task, method][:seeds] for task in tasks], axis=1) for method in methods}
    reference = scores.get(results["reference"])
    made = []
    for method, values in scores.items():
        other = method != results["reference"] and reference is not None
        improvement = probability_of_improvement(values, reference) if other and reference is not None else None
        iqm = float(interquartile_mean(values.reshape(-1)))
        made.append(Aggregate(method, values, iqm, bootstrap_interval(values, interquartile_mean), improvement))
    return sorted(made, key=lambda entry: -entry.iqm)


def aggregate_table(results: Results, steps: int) -> Table:
    """Interquartile means over tasks, and the probability of improvement over the reference."""
    made = aggregates(results, steps)
    rows = [
        (
            entry.method,
            f"{entry.iqm:.3f} [{entry.interval[0]:.3f}, {entry.interval[1]:.3f}]",
            f"{entry.scores.mean():.3f}",
            _NOTHING
            if entry.improvement is None
            else f"{entry.improvement[0]:.2f} [{entry.improvement[1][0]:.2f}, {entry.improvement[1][1]:.2f}]",
        )
        for entry in made
    ]
    runs, count = made[0].scores.shape
    note = (
        f"Over {count} tasks that all these methods have finished, {runs} seeds each; 95 % intervals by the bootstrap "
        f"stratified by task. Probability of improvement: how probable it is that a seed is above one of "
        f"{results['reference']} in the same task, averaged over tasks."
    )
    header = ("method", "interquartile mean", "mean", f"probability of improvement over {results['reference']}")
    return Table(f"Over tasks, at {steps:,} steps per seed", note, header, tuple(rows))


def horizon_returns(results: Results, task: str) -> dict[str, dict[int, Any]]:
    """What was measured at other lengths of a task, by method and length."""
    found = {r["method"]: r["horizons"] for r in results["results"] if r["task"] == task and r.get("horizons")}
    return {method: {int(length): entry for length, entry in returns.items()} for method, returns in found.items()}


def horizon_tables(results: Results) -> list[Table]:
    """Mean returns in longer variants of a task, a table for each task that was measured."""
    found = {task: horizon_returns(results, task) for task in results["tasks"]}
    return [_horizon_table(task, returns) for task, returns in found.items() if returns]


def _horizon_table(task: str, found: dict[str, dict[int, Any]]) -> Table:
    lengths = sorted({length for returns in found.values() for length in returns})
    rows = [(method, *(_horizon(returns.get(length)) for length in lengths)) for method, returns in found.items()]
    known = {length: entry for returns in found.values() for length, entry in returns.items()}
    for name in ("best", "memoryless"):
        values = [known[length][name] for length in lengths]
        if any(value is not None for value in values):
            rows.append((f"*{name} possible*", *(_NOTHING if x is None else f"{x:.2f}" for x in values)))
    note = (
        "Mean return of the greedy policies at the lengths above the columns: mean over seeds, in brackets the lowest "
        "and the highest seed."
    )
    header = ("method", *(str(length) for length in lengths))
    return Table(f"Trained in {short(task)}, tested at other lengths", note, header, tuple(rows))


METRIC_TITLES = {"mmer": "MMER", "final": "Final mean return", "speed": "Environment steps per second"}
"""What the metrics are called above tables and on axes."""


def write_csv(results: Results) -> str:
    """All scores as CSV, a line for each task, method, pass and seed."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["task", "method", "steps", "seed", results["metric"]])
    for result in results["results"]:
        for steps, scores in result["scores"].items():
            for seed, score in scores.items():
                writer.writerow([result["task"], result["method"], steps, seed, score])
    return file.getvalue()


def provenance(results: Results) -> str:
    """Say what the results were made with: date, versions, machine."""
    packages = results["versions"]
    named = ", ".join(f"{name} {packages[name]}" for name in ("memorax", "jax", "python"))
    machine = results["machine"]
    return f"{results['date']}; {named}; {machine['cpus']} CPUs, {machine['devices']}."


def short(task: str) -> str:
    """Name a task without its namespace or module."""
    return re.sub(r"^[\w.]+::?", "", task)


def cell_scores(results: Results, steps: int) -> dict[tuple[str, str], np.ndarray]:
    """Scores `[seeds]` by task and method at a pass."""
    return {
        (r["task"], r["method"]): np.array(list(r["scores"][str(steps)].values()))
        for r in results["results"]
        if r["scores"].get(str(steps))
    }


def with_interval(scores: np.ndarray, metric: str) -> str:
    """The mean of `[seeds]` scores with its 95 % interval, where there are several."""
    if metric == "speed":
        return f"{scores.mean():,.0f}"
    if scores.size < 2:
        return f"{scores.mean():.2f}"
    low, high = bootstrap_interval(scores)
    return f"{scores.mean():.2f} [{low:.2f}, {high:.2f}]"


def _failed(results: Results) -> set[tuple[str, str]]:
    return {(r["task"], r["method"]) for r in results["results"] if r["failed"]}


def _score_note(results: Results, seeds: Sequence[int]) -> str:
    if results["metric"] == "speed":
        return "Median over logging intervals, all seeds together."
    count = " or ".join(str(n) for n in seeds)
    bold = "The best of a row is bold. " if len(results["methods"]) > 1 else ""
    return f"Mean over {count} seeds, in brackets its 95 % bootstrap interval. {bold}{_source(results)}".strip()


def _source(results: Results) -> str:
    return f"Published scores: {results['source']}." if results["published"] else _NOTHING


def _published(entry: Any) -> str:
    if entry is None:
        return _NOTHING
    return f"{entry[0]:.2f}" + (f" ± {entry[1]:.2f}" if len(entry) > 1 else "")


def _horizon(entry: Any) -> str:
    known = [] if entry is None else [value for value in entry["returns"].values() if value is not None]
    if not known:
        return _NOTHING
    return f"{np.mean(known):.2f} [{min(known):.2f}, {max(known):.2f}]" if len(known) > 1 else f"{known[0]:.2f}"
