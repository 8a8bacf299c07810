"""Training the cells of a suite, one after the other, as far as time allows."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
from rich.console import Console

from memorax.experiment.benchmark.results import (
    FAILED_FILE,
    HORIZONS_FILE,
    RESULTS_FILE,
    cell_result,
    collect,
    read_step,
)
from memorax.experiment.benchmark.suite import Cell, Horizons, Suite
from memorax.experiment.callbacks import TrainingRun
from memorax.experiment.run.files import CONFIG_FILE, check_writable, read_json, write_json
from memorax.experiment.run.folders import TakenError
from memorax.experiment.run.session import DivergenceError
from memorax.experiment.run.train import train

Measure = Callable[[Path, Horizons], dict[str, Any]]
"""Measures the policies of a finished run in longer variants of its task, for `horizons.json`."""


@dataclass(frozen=True)
class Progress:
    """How far a suite has come.

    Attributes:
        finished: Runs that reached the end of the last pass, or failed.
        total: Runs of the suite.
        signal: The signal that stopped it; None if none did.
        out_of_time: Whether the budget ended it.
    """

    finished: int
    total: int
    signal: int | None = None
    out_of_time: bool = False


class Deadline:
    """Ends a run when the time is over; it can be resumed.

    Args:
        seconds: How long it is until then; None for no end.
    """

    def __init__(self, seconds: float | None) -> None:
        self._end = None if seconds is None else time.monotonic() + seconds

    @property
    def over(self) -> bool:
        """Whether the time is over."""
        return self._end is not None and time.monotonic() >= self._end

    def on_interval(self, run: TrainingRun) -> bool:
        """Whether the run should end."""
        return self.over and run.step < run.total


def run_suite(
    suite: Suite,
    folder: str | Path,
    *,
    budget_hours: float | None = None,
    measure: Measure | None = None,
    tell: Callable[[str], object] = lambda text: None,
) -> Progress:
    """Train the cells of a suite that are not finished yet, and keep the results up to date after each.

    Several processes may work on the same suite: what another one is training is left out.

    Args:
        suite: The suite.
        folder: Where its runs are, a folder each, and `results.json`. Those that are there are resumed.
        budget_hours: After how many hours to stop; None for no limit.
        measure: Measures longer variants, for suites with `horizons`.
        tell: Called with a line about every run.

    Returns:
        How far it came.

    Raises:
        ImportError: The library of a task is missing.
        OSError: The disk failed or is full.
        ValueError: A run in the folder is of another configuration, or `budget_hours` is not above 0.
    """
    if budget_hours is not None and not budget_hours > 0:
        raise ValueError(f"`budget` must be above 0 hours, got {budget_hours}")
    folder = Path(folder)
    check_writable(folder)
    deadline = Deadline(None if budget_hours is None else 3600 * budget_hours)
    cells = list(suite.cells())
    for steps in suite.passes:
        for i, cell in enumerate(cells):
            if not _finished(folder / cell.folder, steps):
                if deadline.over:
                    return _progress(suite, folder, out_of_time=True)
                try:
                    signal = _train(suite, folder / cell.folder, cell, steps, deadline)
                except TakenError as error:
                    tell(f"[{i + 1}/{len(cells)}] {cell.method} on {cell.task} is left out: {error}")
                    continue
                _write_results(suite, folder)
                if signal is not None:
                    return _progress(suite, folder, signal=signal)
                tell(f"[{i + 1}/{len(cells)}] {_describe(suite, folder, cell, steps)}")
            if measure is not None and steps == suite.passes[-1]:
                _measure(suite, folder / cell.folder, measure)
    _write_results(suite, folder)
    return _progress(suite, folder)


def _finished(folder: Path, steps: int) -> bool:
    """Whether a run has got this far, or failed before."""
    return (folder / FAILED_FILE).is_file() or read_step(folder) >= steps


def _train(suite: Suite, folder: Path, cell: Cell, steps: int, deadline: Deadline) -> int | None:
    """Train a cell, and give the signal that stopped it, if one did."""
    resume = (folder / CONFIG_FILE).is_file()
    try:
        outcome = train(
            suite.config(cell, steps),
            folder,
            resume=resume,
            callbacks=(deadline,),
            devices="cores",
            console=Console(quiet=True),
            return_on_signal=True,
        )
    except DivergenceError as error:
        write_json(folder / FAILED_FILE, {"message": str(error)})
        return None
    finally:
        jax.clear_caches()  # programs of another run are of no use
    return outcome.signal


def _measure(suite: Suite, folder: Path, measure: Measure) -> None:
    """Measure a finished run in longer variants, unless that was done at this step."""
    path, step = folder / HORIZONS_FILE, read_step(folder)
    if suite.horizons is None or (folder / FAILED_FILE).is_file() or step < suite.passes[-1]:
        return
    if path.is_file() and read_json(path)["step"] == step:
        return
    write_json(path, {"step": step, "returns": measure(folder, suite.horizons)})
    jax.clear_caches()
    _write_results(suite, folder.parent)


def _write_results(suite: Suite, folder: Path) -> None:
    write_json(folder / RESULTS_FILE, collect(suite, folder))


def _progress(suite: Suite, folder: Path, *, signal: int | None = None, out_of_time: bool = False) -> Progress:
    cells = list(suite.cells())
    finished = sum(_finished(folder / cell.folder, suite.passes[-1]) for cell in cells)
    return Progress(finished, len(cells), signal, out_of_time)


def _describe(suite: Suite, folder: Path, cell: Cell, steps: int) -> str:
    """A line about a run."""
    result = cell_result(suite, folder, cell)
    if result is None:
        return f"{cell.method} on {cell.task}: stopped before anything was logged"
    if result["failed"]:
        return f"{cell.method} on {cell.task}: {result['failed']}"
    scores = result["scores"].get(str(steps))
    if not scores:
        return f"{cell.method} on {cell.task}: stopped at step {result['steps']:,} of {steps:,}"
    mean = sum(scores.values()) / len(scores)
    return f"{cell.method} on {cell.task}: {suite.metric} {mean:.3f} at {steps:,} steps"
