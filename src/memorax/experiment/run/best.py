"""The best checkpoint of a run, beside the newest few."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from memorax.core.types import PyTree
from memorax.experiment.run import checkpoint

_ALL = 1_000_000


class BestCheckpoint:
    """Keeps the checkpoint at which a metric was highest.

    A run that is killed goes on from one of its newest checkpoints; the best one up to that step is still there then,
    since an earlier one is removed only when a newer checkpoint of the run is complete.

    Args:
        metric: Its name, averaged over seeds; None to keep none.
        folder: Where it is kept.
        step: The step that the run begins from; what was kept of later ones is removed, for it will be made again.
        series: Gives steps and values of a metric so far.
    """

    def __init__(
        self, metric: str | None, folder: Path, step: int, series: Callable[[str], Sequence[tuple[int, float]]]
    ) -> None:
        self.folder, self._metric, self._series, self._value = folder, metric, series, -math.inf
        self._writer = None if metric is None else checkpoint.CheckpointWriter(folder, keep=_ALL)
        if metric is None:
            return
        for path in checkpoint.complete(folder):
            if int(path.name) > step:
                checkpoint.remove(path)
        newest = checkpoint.newest(folder)
        if newest is not None:
            self._value = dict(series(metric)).get(int(newest.name), -math.inf)

    def improved(self, step: int) -> bool:
        """Whether the metric has a value at this step, higher than any before."""
        values = {} if self._metric is None else dict(self._series(self._metric)[-1:])
        better = values.get(step, -math.inf) > self._value
        self._value = values[step] if better else self._value
        return better

    def save(self, step: int, state: PyTree, origin: dict[str, Any]) -> None:
        """Save a checkpoint in the background, as `checkpoint.CheckpointWriter.save`."""
        if self._writer is not None:
            self._writer.save(step, state, origin)

    def settle(self, safe: Path | None) -> None:
        """Wait until everything is saved, and remove what is no longer needed.

        Args:
            safe: The newest complete checkpoint of the run: of those up to it, only the best is needed.

        Raises:
            OSError: A save failed.
        """
        if self._writer is not None:
            self._writer.wait()
            step = -1 if safe is None else int(safe.name)
            for path in [path for path in checkpoint.complete(self.folder) if int(path.name) <= step][:-1]:
                checkpoint.remove(path)

    def close(self) -> None:
        """Wait for the last save, and release resources."""
        if self._writer is not None:
            self._writer.close()
