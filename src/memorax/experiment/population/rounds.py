"""The exchanges of a population between the intervals of its members."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from memorax.acting import faults
from memorax.experiment.changes import with_copied
from memorax.experiment.config_file import save_config
from memorax.experiment.loggers import Row, read_rows
from memorax.experiment.population.config import Population
from memorax.experiment.population.exchange import Copy, choose, copied
from memorax.experiment.report.plot import RETURN
from memorax.experiment.run.batch import Batch, Lane
from memorax.experiment.run.files import METRICS_FILE
from memorax.experiment.run.grouping import run_hyperparameters
from memorax.experiment.run.metrics import Interval
from memorax.experiment.run.session import Session
from memorax.experiment.run.train_many import Part
from memorax.experiment.sweep.settings import write_parameters

COUNT = "episode/count"
DIVERGED = "population/diverged"
"""1 in the interval in which a member diverged; it copies another one after it."""
COPIED = "population/copied"
"""Number of the member that was copied before an interval."""
VALUE = "hyperparameters/"
"""Before the names of the hyperparameters that change."""


class Rounds:
    """Lets the members of a population copy each other between intervals; it follows from their metrics alone.

    Args:
        population: How they learn from each other; `every` is filled in.
        sessions: The members, all at the same step.
        batch: Their batch.
    """

    def __init__(self, population: Population, sessions: Sequence[Session], batch: Batch) -> None:
        self.population, self.sessions, self.batch = population, sessions, batch
        step = sessions[0].step
        histories = [read_rows(session.folder / METRICS_FILE, step) for session in sessions]
        ends = sorted({int(row["step"]) for row in histories[0]})
        self._before, since = 0, 0
        for end in ends[:-1]:
            since = end if self._due(end) else since
            self._before = end
        self._rows = [[row for row in rows if row["step"] > since] for rows in histories]

    def after(self, lanes: Sequence[Lane]) -> None:
        """Look at what members have computed, before they log it: one that has diverged goes on as a copy."""
        bad = [_diverged(lane.interval) for lane in lanes]
        if all(bad):
            return  # there is nothing to copy
        for lane, session, diverged in zip(lanes, self.sessions, bad, strict=True):
            interval = lane.interval
            assert interval is not None  # noqa: S101
            further: dict[str, np.ndarray] = {
                VALUE + name: np.full(lane.seeds, lane.values[name], np.float32) for name in self.population.space
            }
            last = session.config.history[-1:]
            if last and last[0]["step"] == session.step:
                further[COPIED] = np.full(lane.seeds, last[0]["copied"], np.int32)
            if diverged:
                further[DIVERGED] = np.ones(lane.seeds, np.int32)
                interval = _without_faults(interval)
            lane.interval = _with(interval, further)

    def before(self, lanes: Sequence[Lane], parts: Sequence[Part]) -> None:
        """Copy what is to be copied, before members go on; all have logged the last interval."""
        step = self.sessions[0].step
        for rows, session in zip(self._rows, self.sessions, strict=True):
            rows.extend(session.rows)
        due = self._due(step)
        diverged = [i for i, rows in enumerate(self._rows) if any(r["step"] == step and DIVERGED in r for r in rows)]
        if due or diverged:
            values = [run_hyperparameters(session.config, list(self.population.space)) for session in self.sessions]
            scores = [score(rows) for rows in self._rows]
            copies = choose(self.population, scores, values, step, due=due, diverged=diverged)
            self._apply(copies, lanes, parts, scores)
        if due:
            self._rows = [[] for _ in self._rows]
        self._before = step

    def _due(self, step: int) -> bool:
        every = self.population.every or 1
        return step // every > self._before // every

    def _apply(
        self, copies: Sequence[Copy], lanes: Sequence[Lane], parts: Sequence[Part], scores: Sequence[float | None]
    ) -> None:
        rows = np.arange(sum(lane.seeds for lane in lanes)).reshape(len(lanes), -1)
        learned, whole = rows.copy(), rows.copy()
        for copy in copies:
            (whole if copy.whole else learned)[copy.member] = rows[copy.source]
            session, source = self.sessions[copy.member], self.sessions[copy.source]
            session.config = with_copied(session.config, copy.values, session.step, copy.source)
            save_config(session.folder, session.config)
            lane = lanes[copy.member]
            lane.values = run_hyperparameters(session.config, list(lane.values))
            parts[copy.member].note(_told(copy, source.folder.name, scores))
        names = lanes[0].values
        values = {name: np.repeat([lane.values[name] for lane in lanes], rows.shape[1]) for name in names}
        if copies:
            self.batch.change(lanes, lambda state: copied(state, learned.ravel(), whole.ravel(), values))


def score(rows: Sequence[Row]) -> float | None:
    """Mean return over all episodes of some rows; None where no episode ended."""
    ended = [row for row in rows if RETURN in row]
    count = sum(row[COUNT] for row in ended)
    return sum(row[RETURN] * row[COUNT] for row in ended) / count if count else None


def _told(copy: Copy, source: str, scores: Sequence[float | None]) -> str:
    mine, theirs = scores[copy.member], scores[copy.source]
    why = "diverged" if copy.whole else f"mean return {mine or 0:.3f} against {theirs or 0:.3f}"
    return f"{why}: copies {source}, then {write_parameters(copy.values)}"


def _diverged(interval: Interval | None) -> bool:
    return interval is not None and not interval.finite


def _without_faults(interval: Interval) -> Interval:
    """Leave out what is not finite, which is no reason to end the run any more."""
    return dataclasses.replace(
        interval,
        present={name: x & np.isfinite(interval.values[name]) for name, x in interval.present.items()},
        first_bad={name: np.full_like(x, -1) for name, x in interval.first_bad.items()},
        fault=np.full_like(interval.fault, faults.NO_FAULT),
        healthy=np.ones_like(interval.healthy),
    )


def _with(interval: Interval, values: Mapping[str, Any]) -> Interval:
    """Add metrics to an interval."""
    present = {name: np.ones(value.shape, bool) for name, value in values.items()}
    return dataclasses.replace(interval, values={**interval.values, **values}, present={**interval.present, **present})
