"""Training trials in this process: those whose sizes agree side by side in one program."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from memorax.experiment.callbacks import TrainingRun
from memorax.experiment.config import RunConfig
from memorax.experiment.run.files import CONFIG_FILE
from memorax.experiment.run.folders import TakenError
from memorax.experiment.run.grouping import group_runs
from memorax.experiment.run.session import Outcome
from memorax.experiment.run.train import train
from memorax.experiment.run.train_many import train_many
from memorax.experiment.sweep.config import SweepConfig, load_sweep_config
from memorax.experiment.sweep.trials import Trial, failed, finished, read_trial, trial_config, write_trial

_PATIENCE = 120.0
"""Seconds to wait for another process to leave the folder of a trial."""

Prune = Callable[[Trial, TrainingRun], bool]
"""Is told of every logging interval of a trial; True ends it."""


class Pruned:
    """A callback that ends those trials of a batch that others leave behind.

    Args:
        trials: By the absolute folder of their runs.
        prune: Decides.
    """

    def __init__(self, trials: dict[Path, Trial], prune: Prune) -> None:
        self._trials, self._prune = trials, prune

    def on_interval(self, run: TrainingRun) -> bool:
        """Ask whether the trial goes on; at its end there is nothing left to stop."""
        return self._prune(self._trials[run.folder.absolute()], run) and run.step < run.total


def train_trials(folder: Path, names: Sequence[str], prune: Prune = lambda trial, run: False) -> int | None:
    """Train trials from where they are, and write what came of them.

    A trial that fails, whatever the reason, is recorded and does not disturb the others; what cannot be told apart, an
    exhausted memory for instance, is tried again with half as many side by side.

    Args:
        folder: The folder of the sweep.
        names: The trials; those that are over are left as they are.
        prune: Is told of every logging interval of a trial; True ends it.

    Returns:
        The signal that stopped the training early; None if all trials are over, or are trained by another process.
    """
    config = load_sweep_config(folder)
    waiting = [trial for trial in (read_trial(folder, name) for name in names) if not trial.is_over]
    runs: list[tuple[Trial, RunConfig]] = []
    for trial in waiting:
        try:
            runs.append((trial, trial_config(config, trial)))
        except (TypeError, ValueError) as error:
            write_trial(folder, failed(trial, str(error)))
    for group in group_runs([run for _, run in runs]):
        stopped = _train(folder, config, [runs[i] for i in group], prune)
        if stopped is not None:
            return stopped
    return None


def _train(folder: Path, config: SweepConfig, runs: list[tuple[Trial, RunConfig]], prune: Prune) -> int | None:
    """Train runs that may share a program."""
    begun = [(write_trial(folder, dataclasses.replace(trial, state="running")), run) for trial, run in runs]
    callback = Pruned({(folder / trial.name).absolute(): trial for trial, _ in begun}, prune)
    try:
        outcomes = _when_free(lambda: _outcomes(folder, begun, callback))
    except Exception as error:
        if len(begun) > 1:
            # What is of the wrong kind for all, an environment in Python for instance, is found out once.
            return _train_parts(
                folder, config, begun, 1 if isinstance(error, TypeError) else -(-len(begun) // 2), prune
            )
        if isinstance(error, TakenError):
            return None
        write_trial(folder, failed(begun[0][0], f"{type(error).__name__}: {error}"))
        return None
    for (trial, _), outcome in zip(begun, outcomes, strict=True):
        if outcome.error is not None:
            write_trial(folder, failed(trial, f"{type(outcome.error).__name__}: {outcome.error}", outcome.step))
        elif outcome.signal is None:
            pruned = outcome.stopped_by is callback
            write_trial(folder, finished(folder, trial, config.metric, pruned=pruned))
    return next((outcome.signal for outcome in outcomes if outcome.signal is not None), None)


def _when_free(outcomes: Callable[[], Sequence[Outcome]]) -> Sequence[Outcome]:
    """Wait for a process that is just ending, of a sweep that was killed for instance, to leave the folders."""
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            return outcomes()
        except TakenError:
            if time.monotonic() > end:
                raise
            time.sleep(1.0)


def _train_parts(
    folder: Path, config: SweepConfig, runs: list[tuple[Trial, RunConfig]], size: int, prune: Prune
) -> int | None:
    """Train runs again, at most `size` of them side by side."""
    for start in range(0, len(runs), size):
        stopped = _train(folder, config, runs[start : start + size], prune)
        if stopped is not None:
            return stopped
    return None


def _outcomes(folder: Path, runs: list[tuple[Trial, RunConfig]], callback: Pruned) -> Sequence[Outcome]:
    folders = [folder / trial.name for trial, _ in runs]
    how: Any = {"callbacks": (callback,), "return_on_signal": True, "devices": "cores"}
    if len(runs) > 1:
        return train_many([run for _, run in runs], folders, resume=True, **how)
    # One that was killed before it had a configuration has nothing to resume.
    begun = (folders[0] / CONFIG_FILE).is_file()
    return [train(runs[0][1], folders[0], resume=begun, **how)]
