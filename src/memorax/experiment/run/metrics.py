"""Metrics of a logging interval: reduced on the device, turned into rows on the host."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from memorax.core.types import Array, PyTree
from memorax.experiment.loggers import Row
from memorax.experiment.run.checkpoint import flatten

_EPISODE = ("returned_episode", "returned_episode_returns", "returned_episode_lengths")


@struct.dataclass
class Interval:
    """Metrics of one seed over a logging interval; mapped over seeds, every array has a leading axis of seeds.

    Attributes:
        values: Metrics by name; meaningless where `present` is False.
        present: Whether the metric has a value.
        first_bad: Index of the first logged value that was NaN or infinite, by name of the log; -1 where none was.
        logged: How many values each log holds, by name.
        healthy: Whether the learner's state is finite after the interval.
    """

    values: dict[str, Array]
    present: dict[str, Array]
    first_bad: dict[str, Array]
    logged: dict[str, Array]
    healthy: Array


def reduce_logs(logs: dict[str, Array], learner: PyTree) -> Interval:
    """Reduce the logs of one seed.

    Returns and lengths are averaged over the episodes that ended in the interval, everything else over the times it
    was logged and had a value (NaN means none).

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
    for name, log in logs.items():
        if name in _EPISODE:
            continue
        per_time = log.astype(jnp.float32).reshape(log.shape[0], -1)
        known = ~jnp.isnan(per_time)
        bad = jnp.any(~jnp.isfinite(per_time), axis=1)
        count = jnp.sum(known).astype(jnp.float32)
        values[name] = jnp.sum(jnp.where(known, per_time, 0.0)) / jnp.maximum(count, 1.0)
        present[name] = count > 0
        first_bad[name] = jnp.where(jnp.any(bad), jnp.argmax(bad), -1)
        logged[name] = jnp.asarray(log.shape[0], jnp.int32)
    return Interval(values, present, first_bad, logged, _finite(learner))


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


def diagnose(
    interval: Interval, learner: PyTree, steps: tuple[int, int], seeds: list[int], seen: frozenset[str] = frozenset()
) -> str | None:
    """Describe what diverged in an interval; None if nothing did.

    A NaN in the logs alone may mean "no value"; it counts where the learner is not finite either.

    Args:
        interval: Of all seeds, on the host.
        learner: State of the learner after the interval, `[seeds, ...]`.
        steps: The steps at the interval's start and at its end.
        seeds: Numbers of the seeds.
        seen: Metrics that had a value before; one that never had any is not suspected first.
    """
    for i, seed in enumerate(seeds):
        infinite = [n for n in interval.values if interval.present[n][i] and not np.isfinite(interval.values[n][i])]
        if interval.healthy[i] and not infinite:
            continue
        bad = {name: int(first[i]) for name, first in interval.first_bad.items() if first[i] >= 0}
        if bad:
            valued = seen | {name for name, present in interval.present.items() if present[i]}
            name = min(bad, key=lambda name: (name not in valued, bad[name], name not in infinite))
            logged = int(interval.logged[name][i])
            step = steps[0] + (steps[1] - steps[0]) * (bad[name] + 1) // logged
            update = step * logged // (steps[1] - steps[0])
            return f"`{name}` of seed {seed} became NaN or infinite in update {update:,} (step {step:,})"
        leaves = flatten(learner).items()
        leaf = next((name for name, x in leaves if not np.all(np.isfinite(np.asarray(x[i], np.float32)))), None)
        name = leaf or infinite[0]
        return f"`{name}` of seed {seed} became NaN or infinite between steps {steps[0]:,} and {steps[1]:,}"
    return None


def _finite(tree: PyTree) -> Array:
    floats = [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.inexact)]
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(x)) for x in floats])) if floats else jnp.ones((), bool)


def _number(x: Any) -> int | float:
    """A Python number with the shortest digits that give the same float32 again."""
    return int(x) if np.issubdtype(x.dtype, np.integer) else float(str(x))
