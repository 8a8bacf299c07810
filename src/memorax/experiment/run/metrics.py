"""Metrics of a logging interval: reduced on the device, turned into rows on the host."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import struct

from memorax import lox
from memorax.acting import faults
from memorax.core.types import Array, PyTree
from memorax.experiment.loggers import Row

_EPISODE = ("returned_episode", "returned_episode_returns", "returned_episode_lengths")
_FAULTS = (faults.STEP, faults.LEARNER)


@struct.dataclass
class Interval:
    """Metrics of one seed over a logging interval; mapped over seeds, every array has a leading axis of seeds.

    Attributes:
        values: Metrics by name; meaningless where `present` is False.
        present: Whether the metric has a value.
        first_bad: Index of the first logged value that was NaN or infinite, by name of the log; -1 where none was. Also
            of the first faulty step (`faults.STEP`) and the first update after which the learner was not finite
            (`faults.LEARNER`).
        logged: How many times each log has, by name; those at which it was not logged count too.
        fault: What was not finite first in the first faulty step, as `faults.first_fault` numbers it.
        healthy: Whether the learner's state is finite after the interval.
    """

    values: dict[str, Array]
    present: dict[str, Array]
    first_bad: dict[str, Array]
    logged: dict[str, Array]
    fault: Array
    healthy: Array

    @property
    def finite(self) -> bool:
        """Whether all metrics that have a value, and the learners of all seeds, are finite; of arrays on the host."""
        values = all(np.all(np.isfinite(x) | ~self.present[name]) for name, x in self.values.items())
        return values and bool(np.all(self.healthy))


def reduce_logs(logs: lox.Logs, learner: PyTree) -> Interval:
    """Reduce the logs of one seed.

    Returns and lengths are averaged over the episodes that ended in the interval, everything else over the times it
    was logged and had a value (where a log of your own is NaN, it has none).

    Args:
        logs: As `lox.spool` gives them, `[time, ...]`.
        learner: State of the learner after the interval.
    """
    values, present, first_bad, logged = {}, {}, {}, {}
    if _EPISODE[0] in logs:
        ended, returns, lengths = (logs[name] for name in _EPISODE)
        count = jnp.sum(ended, dtype=jnp.int32)
        some = jnp.maximum(count, 1).astype(jnp.float32)
        values["episode/return"] = jnp.sum(jnp.where(ended, returns, 0.0)) / some
        values["episode/length"] = jnp.sum(jnp.where(ended, lengths, 0)).astype(jnp.float32) / some
        values["episode/count"] = count
        present |= {"episode/return": count > 0, "episode/length": count > 0, "episode/count": jnp.ones((), bool)}
    fault = jnp.zeros((), jnp.int8)
    for name, log in logs.items():
        if name in _EPISODE:
            continue
        per_time = log.reshape(log.shape[0], -1)
        logged[name] = jnp.asarray(log.shape[0], jnp.int32)
        if name in _FAULTS:
            first_bad[name] = _first(jnp.any(per_time != 0, axis=1))
            if name == faults.STEP:
                numbers = per_time[jnp.maximum(first_bad[name], 0)]
                fault = jnp.min(numbers, initial=faults.OBSERVATION, where=numbers != faults.NO_FAULT)
                fault = jnp.where(first_bad[name] < 0, jnp.int8(faults.NO_FAULT), fault)
            continue
        per_time = per_time.astype(jnp.float32)
        logged_then = logs.present.get(name, jnp.ones(log.shape[0], bool))[:, None]
        known = logged_then & ~jnp.isnan(per_time)
        first_bad[name] = _first(jnp.any(logged_then & ~jnp.isfinite(per_time), axis=1))
        count = jnp.sum(known).astype(jnp.float32)
        values[name] = jnp.sum(jnp.where(known, per_time, 0.0)) / jnp.maximum(count, 1.0)
        present[name] = count > 0
    return Interval(values, present, first_bad, logged, fault, faults.finite(learner))


def _first(flags: Array) -> Array:
    """Index of the first flag that is set; -1 where none is."""
    return jnp.where(jnp.any(flags), jnp.argmax(flags), -1)


def rows(interval: Interval, step: int, seeds: list[int], time: Row, further: Sequence[Row] = ()) -> list[Row]:
    """Turn an interval into one row for each seed; metrics without a value are left out.

    Args:
        interval: Of all seeds, on the host.
        step: The step at its end.
        seeds: Numbers of the seeds.
        time: The entries about time, for every row.
        further: More metrics of each seed; none, or those of an evaluation.
    """
    made: list[Row] = []
    for i, seed in enumerate(seeds):
        row: Row = {"step": step, "seed": seed}
        for name in sorted(interval.values):
            if interval.present[name][i]:
                row[name] = _number(interval.values[name][i])
        made.append(row | (further[i] if further else {}) | time)
    return made


def _number(x: Any) -> int | float:
    """A Python number with the shortest digits that give the same float32 again."""
    return int(x) if np.issubdtype(x.dtype, np.integer) else float(str(x))
