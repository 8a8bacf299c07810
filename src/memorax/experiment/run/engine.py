"""What a run computes on its devices: the state of all seeds, and the programs that train it."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from memorax.core.types import PyTree
from memorax.environments import HostEnvironmentError
from memorax.experiment.devices import Devices
from memorax.experiment.run.metrics import Interval
from memorax.experiment.run.programs import compile_interval, initialize, own_values, restore_state, seed_keys


class Engine:
    """The state of all seeds on the devices of a run, and how it is trained.

    Args:
        agent: The agent of all seeds.
        seeds: Numbers of the seeds.
        devices: The devices; None for one.
        values: Hyperparameters of the run by name; None for those that the agent was made with.

    Attributes:
        keys: Keys of training, `[seeds]`.
        warmup: The first fault of the random steps before training, `[seeds]`; None where a run was resumed.
        compile_seconds: How long compiling has taken.
        seconds: How long the last interval took to train.
    """

    def __init__(
        self,
        agent: Any,
        seeds: list[int],
        devices: Devices | None = None,
        values: Mapping[str, float] | None = None,
    ) -> None:
        self.agent, self.devices = agent, devices or Devices()
        self.values = own_values(agent) if values is None else dict(values)
        init_keys, keys, _ = seed_keys(seeds)
        self._init_keys, self.keys = self.devices.place((init_keys, keys))
        if hasattr(agent, "vector_env"):
            agent.vector_env.watched = True  # before anything is compiled
        self._state: PyTree = None
        self.warmup: np.ndarray | None = None
        self.compile_seconds = self.seconds = 0.0
        self._compiled: dict[int, Callable[..., tuple[PyTree, Interval]]] = {}

    @property
    def state(self) -> PyTree:
        """The state of all seeds, `[seeds, ...]`."""
        return self._state

    @property
    def learner(self) -> PyTree:
        """What is learned by all seeds."""
        return self.state.learner

    def snapshot(self) -> PyTree:
        """The state of all seeds, to be saved."""
        return self.state

    def suspects(self, interval: Interval) -> PyTree:
        """The learner of all seeds, to be looked into where something was not finite in an interval; else None."""
        return None if interval.finite else self.learner

    def begin(self, warmup: int, change: Callable[[PyTree], PyTree]) -> None:
        """Make the state before the first step.

        Args:
            warmup: Environment steps of each seed with random actions.
            change: Changes what was initialized.
        """
        state, self.warmup = initialize(self.agent, self._init_keys, self.keys, warmup, self.values, self.devices)
        self._state = self.devices.place(change(state))

    def restore(self, path: Path, check: Callable[[dict[str, Any] | None], object]) -> None:
        """Read the state from a checkpoint; raises what `programs.restore_state` does."""
        self._state = restore_state(self.agent, self._init_keys, path, check, self.values, self.devices)

    def prepare(self, length: int) -> None:
        """Compile an interval of so many steps, once per length: all have the same length except the last."""
        if length not in self._compiled:
            start = time.perf_counter()
            self._compiled[length] = compile_interval(self.agent, self.keys, self.state, length, self.devices)
            self.compile_seconds += time.perf_counter() - start

    def advance(self, length: int) -> tuple[Interval, int, HostEnvironmentError | None]:
        """Train all seeds for `length` steps.

        Returns:
            The metrics on the host; the number of steps that were made, fewer where an environment in Python failed;
            and that failure.

        Raises:
            HostEnvironmentError: An environment failed before anything was learned.
        """
        start, failure = time.perf_counter(), None
        try:
            self._state, interval = self._compiled[length](self.keys, self.state)
        except HostEnvironmentError as error:
            if not error.steps:
                raise
            self._state, interval, length, failure = error.state, error.logs, error.steps, error
        interval = jax.device_get(interval)
        self.seconds = time.perf_counter() - start
        return interval, length, failure
