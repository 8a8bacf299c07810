"""The states of several runs in one program: every run has its own part of one axis of seeds."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from memorax.core.types import Key, PyTree
from memorax.environments import HostEnvironmentError
from memorax.experiment.devices import Devices
from memorax.experiment.loggers import Row
from memorax.experiment.run.cores import cores_for
from memorax.experiment.run.engine import Engine
from memorax.experiment.run.episodes import Evaluator
from memorax.experiment.run.metrics import Interval
from memorax.experiment.run.programs import compile_interval, initialization, seed_keys


class Batch:
    """Trains several runs side by side, whose agents differ in hyperparameters alone.

    A run that has ended is computed along, and ignored, until half of the runs have: that costs less than to compile
    another program.

    Args:
        agent: The agent of all runs.
        on_cores: Whether the rows of all runs are divided over the CPU devices that JAX has, as many as divide them.
    """

    def __init__(self, agent: Any, *, on_cores: bool = False) -> None:
        self.agent, self._on_cores = agent, on_cores
        self._devices = Devices()
        self._together: list[Lane] = []
        self._keys: Any = None
        self._state: PyTree = None
        self._programs: dict[tuple[int, int], Callable[..., tuple[PyTree, Interval]]] = {}
        self._initializations: dict[int, Callable[..., Any]] = {}
        self._evaluated: tuple[int, list[Row]] | None = None
        """The step of the last evaluation, and its metrics; None where the states have changed since."""

    def initialize(self, init_keys: Key, keys: Key, warmup: int, values: Mapping[str, float]) -> tuple[PyTree, Any]:
        """Make the state of one run, as `programs.initialize` does; compiled once for all."""
        if warmup not in self._initializations:
            one = jax.vmap(initialization(self.agent, warmup), in_axes=(0, 0, None))
            self._initializations[warmup] = jax.jit(one)
        state, fault = self._initializations[warmup](init_keys, keys, dict(values))
        return state, jax.device_get(fault)

    def advance(self, lengths: Mapping["Lane", int]) -> None:
        """Train runs, those by intervals of one length together.

        Args:
            lengths: The length of the next interval, of each run that has not ended.
        """
        for length in sorted(set(lengths.values())):
            self._advance([lane for lane, own in lengths.items() if own == length], length, lengths)

    def change(self, lanes: Sequence["Lane"], function: Callable[[PyTree], PyTree]) -> None:
        """Change the states of all runs that have not ended.

        Args:
            lanes: The runs.
            function: Of their states, `[seeds of all, ...]`, in this order.
        """
        if self._together != list(lanes):
            self._put_together(list(lanes), lanes)
        self._evaluated = None
        self._state = self._devices.place(function(self._state))

    def evaluate(self, lane: "Lane", evaluator: Evaluator, step: int) -> list[Row]:
        """Evaluate a run, and in the same program all that are trained beside it, which will ask for the same.

        Args:
            lane: The run.
            evaluator: Evaluates any of them.
            step: Which names the randomness.

        Returns:
            The metrics of each seed of the run.
        """
        if lane.own is not None or lane not in self._together:
            return evaluator.with_keys(lane.evaluation_keys).evaluate(lane.state, step)
        if self._evaluated is None or self._evaluated[0] != step:
            keys = jnp.concatenate([other.evaluation_keys for other in self._together])
            self._evaluated = step, evaluator.with_keys(keys).evaluate(self._on_one(self._state), step)
        start = self._start(lane)
        return self._evaluated[1][start : start + lane.seeds]

    def part(self, lane: "Lane", choose: Callable[[PyTree], PyTree] = lambda state: state) -> PyTree:
        """Give the state of one run, or what is chosen of it, `[seeds, ...]`."""
        start = self._start(lane)
        return self._on_one(jax.tree.map(lambda x: x[start : start + lane.seeds], choose(self._state)))

    def _on_one(self, tree: PyTree) -> PyTree:
        """Bring what the devices share to the first one, where whole runs are."""
        return tree if self._devices.mesh is None else jax.device_put(tree, jax.devices()[0])

    def _start(self, lane: "Lane") -> int:
        """The first row of a run."""
        return sum(other.seeds for other in self._together[: self._together.index(lane)])

    def _advance(self, lanes: list["Lane"], length: int, alive: Mapping["Lane", int]) -> None:
        waiting = [lane for lane in self._together if lane in alive and lane not in lanes]
        known = set(lanes) <= set(self._together) and not waiting
        if not known or 2 * len(lanes) <= len(self._together):
            self._put_together(lanes, alive)
        program = (len(self._together), length)
        if program not in self._programs:
            start = time.perf_counter()
            self._programs[program] = compile_interval(self.agent, self._keys, self._state, length, self._devices)
            for lane in lanes:
                lane.compile_seconds += (time.perf_counter() - start) / len(lanes)
        self._evaluated, start = None, time.perf_counter()
        self._state, interval = self._programs[program](self._keys, self._state)
        interval = jax.device_get(interval)
        seconds, first = time.perf_counter() - start, 0
        for lane in self._together:
            rows = slice(first, first + lane.seeds)
            lane.interval = jax.tree.map(lambda x, rows=rows: x[rows], interval)
            lane.seconds, first = seconds, first + lane.seeds

    def _put_together(self, lanes: list["Lane"], alive: Collection["Lane"]) -> None:
        """Make these runs those that the next program trains; the others keep their states."""
        for lane in self._together:
            if lane in alive:
                lane.own = self.part(lane)
        states, self._state = [lane.own for lane in lanes], None
        for lane in lanes:
            lane.own = None
        self._together, self._evaluated = lanes, None
        keys = jnp.concatenate([lane.keys for lane in lanes])
        if self._on_cores:
            self._devices = Devices(cores_for(len(keys)), len(keys))
        self._keys = self._devices.place(keys)
        self._state = self._devices.place(jax.tree.map(lambda *parts: jnp.concatenate(parts), *states))


class Lane(Engine):
    """The engine of one run in a batch: it only takes what the batch has computed for it.

    Args:
        batch: The batch.
        seeds: Numbers of the seeds.
        values: Hyperparameters of the run by name.

    Attributes:
        evaluation_keys: Keys of evaluation, `[seeds]`.
        interval: Metrics of the last interval.
        seeds: Number of seeds.
    """

    def __init__(self, batch: Batch, seeds: Sequence[int], values: Mapping[str, float]) -> None:
        super().__init__(batch.agent, list(seeds), values=values)
        self.batch, self.seeds = batch, len(seeds)
        self.evaluation_keys = seed_keys(list(seeds))[2]
        self.interval: Interval | None = None

    @property
    def own(self) -> PyTree:
        """The state of all seeds while it is not in the batch; else None."""
        return self._state

    @own.setter
    def own(self, state: PyTree) -> None:
        self._state = state

    @property
    def state(self) -> PyTree:
        """The state of all seeds, `[seeds, ...]`."""
        return self.batch.part(self) if self.own is None else self.own

    @property
    def learner(self) -> PyTree:
        """What is learned by all seeds."""
        return self.batch.part(self, lambda state: state.learner) if self.own is None else self.own.learner

    def begin(self, warmup: int, change: Callable[[PyTree], PyTree]) -> None:
        """Make the state before the first step; compiled once for all runs of the batch."""
        state, self.warmup = self.batch.initialize(self._init_keys, self.keys, warmup, self.values)
        self.own = change(state)

    def prepare(self, length: int) -> None:
        """Leave it to the batch."""

    def advance(self, length: int) -> tuple[Interval, int, HostEnvironmentError | None]:
        """Take what the batch has computed."""
        if self.interval is None:
            raise RuntimeError("the batch must advance before its runs do")
        interval, self.interval = self.interval, None
        return interval, length, None


class LaneEvaluator:
    """Evaluates one run of a batch, together with the others.

    Args:
        lane: The run.
        shared: Evaluates any run of the batch.
    """

    def __init__(self, lane: Lane, shared: Evaluator) -> None:
        self._lane, self._shared = lane, shared

    def evaluate(self, state: PyTree, step: int) -> list[Row]:
        """Give the metrics `eval/...` of each seed; the state is the one in the batch."""
        del state
        return self._lane.batch.evaluate(self._lane, self._shared, step)

    def close(self) -> None:
        """Release nothing: the environments are compiled."""
