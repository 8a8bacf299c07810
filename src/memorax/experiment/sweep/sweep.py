"""A sweep in progress: its folder, what was tried, and when to stop."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from memorax.experiment.run.display import Lines
from memorax.experiment.run.grouping import group_runs
from memorax.experiment.run.interrupt import Interruption
from memorax.experiment.space import draw
from memorax.experiment.sweep.config import SweepConfig
from memorax.experiment.sweep.settings import write_parameters
from memorax.experiment.sweep.trials import (
    FRESH,
    TRIALS,
    Trial,
    best_trials,
    read_trial,
    read_trials,
    trial_config,
    trial_name,
    write_trial,
)

_HOUR = 3600.0


class Sweep:
    """A sweep in progress.

    Args:
        folder: Its folder.
        config: Its configuration.
        console: Where to show what comes of the trials.
        interruption: Knows whether a signal was received.
    """

    def __init__(self, folder: Path, config: SweepConfig, console: Console, interruption: Interruption) -> None:
        self.folder, self.config, self._interruption = folder, config, interruption
        self._display = Lines(console, 1)
        self._end = None if config.budget is None else time.monotonic() + config.budget * _HOUR
        self._trials = {trial.name: trial for kind in (TRIALS, FRESH) for trial in read_trials(folder, kind)}

    def note(self, text: str) -> None:
        """Show a message."""
        self._display.note(text)

    def should_stop(self) -> bool:
        """Whether a signal was received, or the time is over."""
        return self.signal is not None or self.is_over_budget

    @property
    def signal(self) -> int | None:
        """The signal that was received; None so far."""
        return self._interruption.signal

    @property
    def is_over_budget(self) -> bool:
        """Whether the time is over."""
        return self._end is not None and time.monotonic() > self._end

    def trials(self, kind: str = TRIALS) -> list[Trial]:
        """All trials of a kind so far; those that train are as they were when they began."""
        return [trial for trial in self._trials.values() if trial.name.startswith(f"{kind}/")]

    def add(self, number: int, parameters: dict[str, Any], kind: str = TRIALS) -> str:
        """Add a trial, and give its name; one that is there stays."""
        name = trial_name(number, kind)
        if name not in self._trials:
            self._trials[name] = write_trial(self.folder, Trial(name=name, parameters=parameters))
        return name

    def add_random(self) -> list[str]:
        """Add all trials that are still missing, with settings drawn at random; name those that are not over."""
        for number in range(self.config.trials):
            self.add(number, draw(self.config.space, self.config.sampler_seed, number))
        return self.unfinished()

    def add_fresh(self) -> list[str]:
        """Add the best settings with fresh seeds; name those that are not over."""
        best = best_trials(self.trials(), self.config.direction)[: self.config.best]
        names = [self.add(trial.number, trial.parameters, FRESH) for trial in best]
        return [name for name in names if not self._trials[name].is_over]

    def unfinished(self) -> list[str]:
        """Name the trials that are not over."""
        return [trial.name for trial in self.trials() if not trial.is_over]

    def batches(self, names: Sequence[str]) -> list[list[str]]:
        """Divide trials into batches that can be trained side by side, so that all workers have something to do."""
        whole, runs, single = [], [], []
        for name in names:
            try:
                runs.append(trial_config(self.config, self._trials[name]))
                whole.append(name)
            except (TypeError, ValueError):
                single.append([name])  # whoever trains it records why it fails
        batches: list[list[str]] = []
        for group in group_runs(runs):
            size = max(1, min(self.config.batch_size(), -(-len(group) // self.config.workers)))
            batches += [[whole[i] for i in group[start : start + size]] for start in range(0, len(group), size)]
        return batches + single

    def show_finished(self) -> None:
        """Look what has come of the trials, and show what is new."""
        for name, before in self._trials.items():
            if before.is_over:
                continue
            trial = read_trial(self.folder, name)
            self._trials[name] = trial
            if trial.is_over:
                self.note(self._describe(trial))

    def _describe(self, trial: Trial) -> str:
        kind = trial.name.partition("/")[0]
        trials = self.trials(kind)
        over, total = sum(t.is_over for t in trials), self.config.trials if kind == TRIALS else len(trials)
        pairs = zip(self.config.metric, trial.values, strict=False)
        values = ", ".join(f"{metric} {value:.4g}" for metric, value in pairs)
        what = trial.error if trial.state == "failed" else values
        return f"{trial.name} ({over} of {total}) {trial.state}: {what}  {write_parameters(trial.parameters)}"
