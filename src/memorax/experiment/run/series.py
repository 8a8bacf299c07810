"""Metrics over a run, averaged over seeds."""

from collections.abc import Callable, Sequence

import numpy as np

from memorax.experiment.loggers.base import Row


class Series:
    """Metrics over a run, each kept from when it is first asked for.

    Args:
        read: Reads all rows of the run so far.
    """

    def __init__(self, read: Callable[[], list[Row]]) -> None:
        self._read = read
        self._known: dict[str, list[tuple[int, float]]] = {}

    def add(self, rows: Sequence[Row]) -> None:
        """Add the rows of an interval, one for each seed."""
        for metric, points in self._known.items():
            points.extend(_means(rows, metric))

    def get(self, metric: str) -> Sequence[tuple[int, float]]:
        """Give steps and means over the seeds that have a value, in the order of the steps."""
        if metric not in self._known:
            self._known[metric] = _means(self._read(), metric)
        return tuple(self._known[metric])


def _means(rows: Sequence[Row], metric: str) -> list[tuple[int, float]]:
    values: dict[int, list[float]] = {}
    for row in rows:
        if metric in row:
            values.setdefault(int(row["step"]), []).append(row[metric])
    return [(step, float(np.mean(values[step]))) for step in sorted(values)]
