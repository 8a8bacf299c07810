"""The engine of a run that several processes compute together."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from memorax.core.types import PyTree
from memorax.environments import HostEnvironmentError
from memorax.experiment.run.engine import Engine
from memorax.experiment.run.hosts import group
from memorax.experiment.run.metrics import Interval


class SpreadEngine(Engine):
    """The engine of each of several processes; that of the first one announces to the others what it does.

    The arguments are those of `Engine`.
    """

    def begin(self, warmup: int, change: Callable[[PyTree], PyTree]) -> None:
        """Make the state before the first step."""
        group().announce("begin", warmup=warmup)
        super().begin(warmup, change)

    def restore(self, path: Path, check: Callable[[dict[str, Any] | None], object]) -> None:
        """Read the state from a checkpoint, in every process."""
        group().announce("restore", path=str(path.absolute()))
        super().restore(path, check)

    def prepare(self, length: int) -> None:
        """Compile an interval in every process."""
        if length not in self._compiled:
            group().announce("prepare", length=length)
            super().prepare(length)

    def advance(self, length: int) -> tuple[Interval, int, HostEnvironmentError | None]:
        """Train all seeds for `length` steps."""
        group().announce("advance", length=length)
        return super().advance(length)

    def snapshot(self) -> PyTree:
        """Bring the state to the host of each process."""
        group().announce("snapshot")
        return self.devices.gather(self.state)

    @property
    def learner(self) -> PyTree:
        """What is learned by all seeds, brought to the host of each process."""
        return self.snapshot().learner
