"""Code of your own between the logging intervals of a run, and the rules that end a run early."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from memorax.core.checks import check_fields, instance, integer, real
from memorax.core.types import PyTree
from memorax.experiment.config import RunConfig
from memorax.experiment.loggers.base import Row


class TrainingRun(Protocol):
    """A run in progress, as callbacks see it.

    Attributes:
        config: Its configuration.
        agent: Its agent.
        folder: Its folder.
        step: Environment steps that each seed has been trained for.
        total: Environment steps of each seed at the end.
        state: The state of all seeds, `[seeds, ...]`. The next interval reuses its memory: read it during the call, and
            copy what is kept longer.
        rows: Metrics of the interval that has just ended, those of an evaluation among them, one row per seed.
    """

    config: RunConfig
    agent: Any
    folder: Path
    step: int
    total: int
    state: PyTree
    rows: list[Row]

    def series(self, metric: str) -> Sequence[tuple[int, float]]:
        """Give all values of a metric so far, each the mean over seeds, with their steps.

        Args:
            metric: Its name in `metrics.jsonl`.
        """
        ...

    def save_checkpoint(self) -> Path:
        """Save a checkpoint of this step, and wait until it is complete.

        Returns:
            Its folder.
        """
        ...


class Callback(Protocol):
    """Is called at the end of every logging interval. Any object with this method is one.

    A run that is resumed makes no calls for the intervals before; what a callback needs of them it finds in
    `run.series`, so that it does the same in a run that was killed.
    """

    def on_interval(self, run: TrainingRun) -> bool | None:
        """Do anything; training waits for it.

        Args:
            run: The run.

        Returns:
            True to end the run here, as if it were complete.
        """
        ...


@dataclass(frozen=True)
class StopAt:
    """Ends a run that is good enough.

    Attributes:
        threshold: Value that the metric must reach, averaged over seeds.
        after: How many times in a row.
        metric: The metric.
    """

    threshold: float
    after: int = 1
    metric: str = "eval/return"

    def __post_init__(self) -> None:
        check_fields(self, threshold=real(), after=integer(1), metric=instance(str, called="a name"))

    def on_interval(self, run: TrainingRun) -> bool:
        """Stop where the last values all reach the threshold."""
        values = [value for _, value in run.series(self.metric)]
        return len(values) >= self.after and min(values[-self.after :]) >= self.threshold


@dataclass(frozen=True)
class Patience:
    """Ends a run that improves no longer.

    Attributes:
        times: How many values in a row may be no better than the best before them.
        metric: The metric, averaged over seeds.
    """

    times: int
    metric: str = "eval/return"

    def __post_init__(self) -> None:
        check_fields(self, times=integer(1), metric=instance(str, called="a name"))

    def on_interval(self, run: TrainingRun) -> bool:
        """Stop where the best value is too long ago."""
        values = [value for _, value in run.series(self.metric)]
        return bool(values) and len(values) - 1 - values.index(max(values)) >= self.times


def stopping_rules(config: RunConfig) -> list[Callback]:
    """Make the rules of a configuration that end the run early."""
    rules: list[Callback] = []
    if config.stop_at is not None:
        rules.append(StopAt(config.stop_at, config.stop_after, config.stop_metric))
    if config.patience is not None:
        rules.append(Patience(config.patience, config.stop_metric))
    return rules


def stopping_reason(callback: Callback) -> str:
    """Say why a callback ended a run."""
    match callback:
        case StopAt(threshold, after, metric):
            times = f", {after} times in a row" if after > 1 else ""
            return f"{metric} is at least {threshold:g}{times}"
        case Patience(times, metric):
            return f"{metric} has not improved {times} times in a row"
        case _:
            return f"{type(callback).__name__} ended the run"


def check_callbacks(callbacks: Sequence[Any]) -> None:
    """Require callbacks.

    Raises:
        TypeError: One has no method `on_interval`.
    """
    for callback in callbacks:
        if isinstance(callback, type) or not callable(getattr(callback, "on_interval", None)):
            raise TypeError(f"`callbacks` must have a method `on_interval(run)`, got {callback!r}")
