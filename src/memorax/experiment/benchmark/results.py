"""What the runs of a suite came to, as JSON that needs no run any more."""

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from memorax.experiment.benchmark.suite import Cell, Suite
from memorax.experiment.loggers import Row, read_rows
from memorax.experiment.report.plot import RETURN
from memorax.experiment.report.summary import final_numbers, machine, versions
from memorax.experiment.run.checkpoint import newest
from memorax.experiment.run.files import CHECKPOINTS, CONFIG_FILE, METRICS_FILE, read_json

RESULTS_FILE = "results.json"
FAILED_FILE = "failed.json"
"""Beside a run that diverged: why. The run is not tried again while it is there."""
HORIZONS_FILE = "horizons.json"
"""Beside a run: the returns of its seeds in longer variants of its task."""
_DIGITS = 6

Results = Mapping[str, Any]
"""What `collect` gives: suite, versions, machine, and `results`, a dictionary for each run."""
Scores = dict[str, dict[str, float]]
"""By the steps of a pass, and the seed."""


def collect(suite: Suite, folder: str | Path) -> dict[str, Any]:
    """Read what the runs of a suite came to.

    Args:
        suite: The suite.
        folder: Where its runs are.

    Returns:
        Plain numbers, lists and dictionaries: title, metric and settings of the suite, date, versions and machine, and
        for each run that has begun `task`, `method`, `seeds`, `steps`, `scores` by pass and seed, `curve`, speed, and
        why it failed, if it did.
    """
    found = [cell_result(suite, Path(folder), cell) for cell in suite.cells()]
    return {
        "suite": suite.name,
        "title": suite.title,
        "metric": suite.metric,
        "reference": suite.reference,
        "passes": list(suite.passes),
        "tasks": list(suite.tasks),
        "methods": list(suite.methods),
        "run": dict(suite.run),
        "hyperparameters": dict(suite.hyperparameters),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "versions": versions(),
        "machine": machine(),
        "published": dict(suite.published),
        "source": suite.source,
        "one_scale": suite.one_scale,
        "results": [result for result in found if result is not None],
    }


def cell_result(suite: Suite, folder: Path, cell: Cell) -> dict[str, Any] | None:
    """Read what a run came to; None if it has not logged anything.

    Args:
        suite: The suite.
        folder: Where its runs are.
        cell: The cell.
    """
    run = folder / cell.folder
    rows = read_rows(run / METRICS_FILE) if (run / CONFIG_FILE).is_file() else []
    failed = _read(run / FAILED_FILE).get("message")
    if not rows and failed is None:
        return None
    step = max((int(row["step"]) for row in rows), default=0)
    result = {
        "task": cell.task,
        "method": cell.method,
        "seeds": sorted({int(row["seed"]) for row in rows}),
        "steps": step,
        "scores": {str(steps): score(rows, suite.metric, steps) for steps in suite.passes if steps <= step},
        "curve": _curve(rows),
        "seconds": max((row.get("time/elapsed_seconds", 0.0) for row in rows), default=0.0),
        "steps_per_second": _speed(rows),
        "failed": failed,
    }
    horizons = _read(run / HORIZONS_FILE)
    return result | ({"horizons": horizons["returns"]} if horizons else {})


def read_step(folder: Path) -> int:
    """Give the step of the newest checkpoint of a run; 0 if there is none."""
    latest = newest(folder / CHECKPOINTS)
    return 0 if latest is None else int(latest.name)


def score(rows: list[Row], metric: str, steps: int) -> dict[str, float]:
    """Give the scores of a run at a step, by seed.

    Args:
        rows: The run's metrics.
        metric: `mmer`, `final` or `speed`, as `Suite` has them.
        steps: The step; what was logged later does not count.

    Source:
        Morad et al. 2023, "POPGym: Benchmarking Partially Observable Reinforcement Learning", section 5 (MMER),
        https://arxiv.org/abs/2303.01859
    """
    rows = [row for row in rows if row["step"] <= steps]
    if metric == "final":
        final = final_numbers(rows, RETURN)
        found = {} if final is None else final["per_seed"]
    elif metric == "speed":
        speed = _speed(rows)
        found = {} if speed is None else {"all": speed}
    else:
        by_seed: dict[str, list[float]] = {}
        for row in rows:
            if RETURN in row:
                by_seed.setdefault(str(int(row["seed"])), []).append(row[RETURN])
        found = {seed: max(values) for seed, values in by_seed.items()}
    return {seed: round(float(value), _DIGITS) for seed, value in sorted(found.items())}


def _curve(rows: list[Row]) -> dict[str, Sequence[float]]:
    """The mean return over seeds at every logged step."""
    by_step: dict[int, list[float]] = {}
    for row in rows:
        if RETURN in row:
            by_step.setdefault(int(row["step"]), []).append(row[RETURN])
    steps = sorted(by_step)
    return {"steps": steps, "mean": [round(float(np.mean(by_step[step])), 4) for step in steps]}


def _speed(rows: list[Row]) -> float | None:
    """The median speed of the logging intervals, in environment steps of all seeds per second."""
    found = [row["time/steps_per_second"] for row in rows if "time/steps_per_second" in row]
    return round(float(np.median(found)), 1) if found else None


def _read(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}
