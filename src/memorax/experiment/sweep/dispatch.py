"""Handing batches of trials to processes, wherever those run, and dealing with the ones that die."""

import collections
import time
from collections.abc import Iterable, Sequence
from typing import Protocol

from memorax.experiment.sweep.sweep import Sweep
from memorax.experiment.sweep.trials import failed, read_trial, write_trial

_PAUSE = 0.2
"""Seconds between two looks at the processes."""
_MOST_DEATHS = 3
"""How many processes may die of a trial that is alone in its batch."""


class Job(Protocol):
    """A batch of trials that is trained somewhere."""

    def poll(self) -> str | None:
        """None while it trains; then what went wrong, empty where nothing did."""
        ...

    def stop(self) -> None:
        """Ask it to save and to end; `poll` says when it has."""
        ...


class Launcher(Protocol):
    """Starts processes that train."""

    def start(self, names: Sequence[str]) -> Job:
        """Train trials, by their names, in a process of their own."""
        ...

    def close(self) -> None:
        """Release what was started for all of them."""
        ...


class Dispatcher:
    """Keeps as many batches in training as there may be at the same time.

    A batch whose process dies is tried again, then in halves; a trial that kills its process alone fails.

    Args:
        sweep: The sweep.
        launcher: Starts the processes.
    """

    def __init__(self, sweep: Sweep, launcher: Launcher) -> None:
        self._sweep, self._launcher = sweep, launcher
        self._waiting: collections.deque[list[str]] = collections.deque()
        self._running: list[tuple[list[str], Job]] = []
        self._deaths: collections.Counter[str] = collections.Counter()

    def submit(self, batches: Iterable[Sequence[str]]) -> None:
        """Queue batches of trials, by name."""
        self._waiting.extend(list(batch) for batch in batches)

    @property
    def has_room(self) -> bool:
        """Whether another batch would be begun at once."""
        return len(self._running) + len(self._waiting) < self._sweep.config.workers

    @property
    def is_idle(self) -> bool:
        """Whether nothing trains or waits."""
        return not self._running and not self._waiting

    def run(self, batches: Iterable[Sequence[str]]) -> None:
        """Train batches; returns when they are over, or stopped because the sweep was."""
        self.submit(batches)
        while not self.is_idle:
            if not self.step():
                return

    def step(self) -> bool:
        """Begin what there is room for, wait a moment, and deal with what has ended.

        Returns:
            Whether to go on; False where the sweep was stopped and everything is saved.
        """
        if self._sweep.should_stop():
            self.stop()
            return False
        while self._waiting and len(self._running) < self._sweep.config.workers:
            names = self._waiting.popleft()
            self._running.append((names, self._launcher.start(names)))
        time.sleep(_PAUSE)
        for names, job in list(self._running):
            problem = job.poll()
            if problem is not None:
                self._running.remove((names, job))
                self._again(names, problem)
        self._sweep.show_finished()
        return True

    def stop(self) -> None:
        """Let everything that trains save and end."""
        self._waiting.clear()
        for _, job in self._running:
            job.stop()
        while self._running:
            time.sleep(_PAUSE)
            self._running = [(names, job) for names, job in self._running if job.poll() is None]
        self._sweep.show_finished()

    def _again(self, names: Sequence[str], problem: str) -> None:
        """Try those again that are not over."""
        left = [name for name in names if not read_trial(self._sweep.folder, name).is_over]
        if not left:
            return
        if not problem:
            self._sweep.note(f"{', '.join(left)}: left to another process, which uses the folder")
            return
        self._deaths.update(left)
        deaths = max(self._deaths[name] for name in left)
        if len(left) == 1 and deaths >= _MOST_DEATHS:
            trial = read_trial(self._sweep.folder, left[0])
            write_trial(self._sweep.folder, failed(trial, f"its process ended {deaths} times: {problem}"))
            return
        self._sweep.note(f"{', '.join(left)}: {problem}; resumed")
        middle = len(left) if deaths < 2 else -(-len(left) // 2)
        self.submit(half for half in (left[:middle], left[middle:]) if half)
