"""The trials of a sweep: a run's folder each, and beside it a file that says what was tried and what came of it."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np

from memorax.experiment.config import RunConfig
from memorax.experiment.loggers import read_rows
from memorax.experiment.report.summary import final_numbers
from memorax.experiment.run.files import METRICS_FILE, read_json, write_json
from memorax.experiment.sweep.config import SweepConfig
from memorax.experiment.sweep.settings import with_parameters

TRIALS, FRESH = "trials", "fresh"
"""Folders of what was searched, and of the best settings trained again with fresh seeds."""

State: TypeAlias = Literal["waiting", "running", "complete", "pruned", "failed"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trial:
    """A setting that is tried.

    Attributes:
        name: Its folder in the folder of the sweep, `trials/0007`; with fresh seeds `fresh/0007`.
        parameters: Its settings.
        state: `waiting`, `running`, `complete`, `pruned` (stopped early, for others were better) or `failed`.
        values: The metrics of the sweep, averaged over seeds and the last tenth of the run; empty where not known.
        per_seed: The first metric by seed.
        step: Environment steps that each seed was trained for.
        error: What failed.
    """

    name: str
    parameters: dict[str, Any]
    state: State = "waiting"
    values: tuple[float, ...] = ()
    per_seed: tuple[float, ...] = ()
    step: int = 0
    error: str | None = None

    @property
    def number(self) -> int:
        """Its number in the sweep."""
        return int(self.name.rpartition("/")[2])

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to train."""
        return self.state in ("complete", "pruned", "failed")


def trial_name(number: int, kind: str = TRIALS) -> str:
    """Name a trial, which is also its folder."""
    return f"{kind}/{number:04d}"


def record_file(folder: Path, name: str) -> Path:
    """The file that says what came of a trial."""
    return folder / f"{name}.json"


def write_trial(folder: Path, trial: Trial) -> Trial:
    """Write what came of a trial.

    Args:
        folder: The folder of the sweep.
        trial: The trial.
    """
    path = record_file(folder, trial.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, dataclasses.asdict(trial))
    return trial


def read_trial(folder: Path, name: str) -> Trial:
    """Read a trial.

    Raises:
        ValueError: Its file is damaged.
    """
    path = record_file(folder, name)
    content: dict[str, Any] = read_json(path)
    content |= {name: tuple(value) for name, value in content.items() if isinstance(value, list)}
    try:
        return Trial(**content)
    except TypeError as error:
        raise ValueError(f"`{path}` must hold a trial of this version of memorax ({error})") from error


def read_trials(folder: str | Path, kind: str = TRIALS) -> list[Trial]:
    """Read all trials that have begun or wait, in the order of their numbers."""
    folder = Path(folder)
    names = sorted((path.stem for path in (folder / kind).glob("[0-9]*.json")), key=int)
    return [read_trial(folder, f"{kind}/{name}") for name in names]


def trial_config(config: SweepConfig, trial: Trial) -> RunConfig:
    """The run of a trial.

    Raises:
        TypeError: A value is of the wrong kind.
        ValueError: The settings do not go together.
    """
    run = config.fresh_run() if trial.name.startswith(f"{FRESH}/") else config.run
    return with_parameters(run, trial.parameters)


def finished(folder: Path, trial: Trial, metrics: Sequence[str], *, pruned: bool = False) -> Trial:
    """A trial whose training is over, with its values.

    Args:
        folder: The folder of the sweep.
        trial: The trial.
        metrics: The metrics of the sweep.
        pruned: Whether it was stopped early.
    """
    rows = read_rows(folder / trial.name / METRICS_FILE)
    step = max((int(row["step"]) for row in rows), default=0)
    numbers = [final_numbers(rows, metric) for metric in metrics]
    known = [number for number in numbers if number is not None]
    if len(known) < len(metrics):
        if pruned:
            return dataclasses.replace(trial, state="pruned", step=step)
        missing = [metric for metric, number in zip(metrics, numbers, strict=True) if number is None]
        return failed(trial, f"`{missing[0]}` had no value in the whole run", step)
    return dataclasses.replace(
        trial,
        state="pruned" if pruned else "complete",
        values=tuple(float(number["mean"]) for number in known),
        per_seed=tuple(known[0]["per_seed"].values()),
        step=step,
    )


def failed(trial: Trial, error: str, step: int = 0) -> Trial:
    """A trial that cannot be trained."""
    return dataclasses.replace(trial, state="failed", error=error, step=step or trial.step)


def best_trials(trials: Sequence[Trial], directions: Sequence[str]) -> list[Trial]:
    """Order complete trials from the best to the worst.

    Args:
        trials: Trials of a sweep.
        directions: `maximize` or `minimize`, for each metric.

    Returns:
        The complete ones; where there are several metrics those that no other is better than, in all of them.
    """
    complete = [trial for trial in trials if trial.state == "complete"]
    signs = np.array([1.0 if direction == "maximize" else -1.0 for direction in directions])
    scores = {trial.name: signs * np.array(trial.values) for trial in complete}
    if len(signs) > 1:
        complete = [
            trial
            for trial in complete
            if not any(
                np.all(scores[other.name] >= scores[trial.name]) and np.any(scores[other.name] > scores[trial.name])
                for other in complete
            )
        ]
    return sorted(complete, key=lambda trial: (*-scores[trial.name], trial.number))
