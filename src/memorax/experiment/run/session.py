"""The run loop: trains all seeds in compiled intervals, logs, and saves checkpoints."""

import contextlib
import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from memorax import lox
from memorax.core.types import Array, Key, PyTree
from memorax.experiment.config import RunConfig
from memorax.experiment.loggers import Logger, read_rows
from memorax.experiment.run import checkpoint, origin
from memorax.experiment.run.diagnosis import Divergence, borne_faults, diagnose
from memorax.experiment.run.display import Display
from memorax.experiment.run.files import CHECKPOINTS, METRICS_FILE
from memorax.experiment.run.folders import Claim
from memorax.experiment.run.interrupt import Interruption
from memorax.experiment.run.metrics import Interval, reduce_logs, rows


class DivergenceError(RuntimeError):
    """Training met NaN or infinity; the message says where it came from, and which checkpoint is left."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        folder: The run's folder.
        step: Number of environment steps that each seed has been trained for.
        signal: Number of the signal that stopped the run early; None if it is complete.
        summary: The content of `summary.json`; empty if the run was stopped early.
    """

    folder: Path
    step: int
    signal: int | None = None
    summary: dict[str, Any] = dataclasses.field(default_factory=dict)


def seed_keys(seeds: list[int]) -> tuple[Key, Key, Key]:
    """Derive the keys of initialization, training and evaluation, `[seeds]` each, from the seeds' numbers alone."""

    def split(seed: jax.Array) -> Key:
        return jax.random.split(jax.random.key(seed), 3)

    keys = jax.vmap(split)(jnp.asarray(seeds, jnp.uint32))
    return keys[:, 0], keys[:, 1], keys[:, 2]


class Session:
    """A run in progress: starts from the newest checkpoint in the folder, or from the beginning if there is none.

    Args:
        config: The run; `log_every` is filled in.
        agent: The agent of that configuration.
        claim: The run's folder; released by `close`.
        logger: Where the metrics go; `metrics.jsonl` in the folder is read on resume. Closed by `close`.

    Raises:
        ValueError: A checkpoint is damaged or of another configuration, or the run is past its end already.

    Attributes:
        state: The state of all seeds, `[seeds, ...]`.
        step: Environment steps that each seed has been trained for.
        total: Environment steps of each seed at the end.
        warnings: Why the resumed run may not go on with the same bits.
        received_signal: SIGINT or SIGTERM, if one was received during `run`, even too late to stop anything.
    """

    def __init__(self, config: RunConfig, agent: Any, claim: Claim, logger: Logger) -> None:
        self.config, self.agent, self.claim, self.logger = config, agent, claim, logger
        self.folder = folder = claim.folder
        self.seeds = config.seed_numbers()
        self.total = config.steps // agent.steps_per_update * agent.steps_per_update
        self.compile_seconds = 0.0
        self.received_signal: int | None = None
        self._compiled: dict[int, jax.stages.Compiled] = {}
        init_keys, self._keys, _ = seed_keys(self.seeds)
        if hasattr(agent, "vector_env"):
            agent.vector_env.watched = True  # before anything is compiled
        latest = checkpoint.newest(folder / CHECKPOINTS)
        self.step = 0 if latest is None else int(latest.name)
        if self.step > self.total:
            raise ValueError(
                f"`steps` must be at least {self.step:,} to resume {folder}, which got that far, got {config.steps:,}"
            )
        kept = read_rows(folder / METRICS_FILE, self.step)
        self.warnings: list[str] = []

        def check(found: dict[str, Any] | None) -> None:
            if latest is not None:
                self.warnings += origin.check(found, config, latest, len(kept))

        self._warmup = None
        if latest is None:
            self.state, self._warmup = initialize(agent, init_keys, self._keys, config.warmup)
        else:
            self.state = restore_state(agent, init_keys, latest, check)
        self._rows = len(kept)
        self._seen = frozenset(name for row in kept for name in row)
        self._borne: frozenset[int] = frozenset()
        self._elapsed = kept[-1].get("time/elapsed_seconds", 0.0) if kept else 0.0
        logger.start(kept)
        self.writer = checkpoint.CheckpointWriter(folder / CHECKPOINTS)

    def run(self, display: Display) -> Outcome:
        """Train to the end, or until SIGINT or SIGTERM; either way everything is saved.

        Raises:
            DivergenceError: Something became NaN or infinite.
        """
        with Interruption() as interruption:
            while self.step < self.total and interruption.signal is None:
                length = min(self._interval(), self.total - self.step)
                before = self.step
                program = self._program(length)
                if interruption.signal is not None:
                    break
                self._advance(program, length, display)
                every = self.config.checkpoint_every
                if self.step // every > before // every:
                    self._save()
            self._save()
            self.writer.wait()
        self.received_signal = interruption.signal
        # A signal in the last interval has nothing left to stop.
        return Outcome(self.folder, self.step, interruption.signal if self.step < self.total else None)

    def close(self) -> None:
        """Wait for a save that is under way, and release files and folder."""
        with contextlib.ExitStack() as stack:
            stack.callback(self.claim.release)
            stack.callback(self.writer.close)
            stack.callback(self.logger.close)

    def _interval(self) -> int:
        """Steps to the end of the logging interval; intervals end at the same steps however the run was interrupted."""
        every = self.config.log_every or self.agent.steps_per_update
        return every - self.step % every

    def _program(self, length: int) -> jax.stages.Compiled:
        """Compile an interval, once per length: all have the same length except the last."""
        if length not in self._compiled:
            start = time.perf_counter()
            self._compiled[length] = compile_interval(self.agent, self._keys, self.state, length)
            self.compile_seconds += time.perf_counter() - start
        return self._compiled[length]

    def _advance(self, program: jax.stages.Compiled, length: int, display: Display) -> None:
        start = time.perf_counter()
        self.state, interval = program(self._keys, self.state)
        interval: Interval = jax.device_get(interval)
        seconds = time.perf_counter() - start
        steps = self.step, self.step + length
        suspicion = self._seen, self._borne, self._warmup
        problem = diagnose(interval, self.state.learner, steps, self.seeds, *suspicion)
        if problem is not None:
            raise DivergenceError(f"{problem.message}; {self._what_is_left(problem)}")
        self._borne |= borne_faults(interval)
        self.step += length
        self._elapsed += seconds
        speed = {"time/steps_per_second": length * len(self.seeds) / seconds, "time/elapsed_seconds": self._elapsed}
        made = rows(interval, self.step, self.seeds, {name: round(value, 3) for name, value in speed.items()})
        self.logger.write(made)
        self._rows += len(made)
        self._seen |= {name for row in made for name in row}
        display.show(self.step, made)

    def _save(self) -> None:
        self.logger.sync()
        self.writer.save(self.step, self.state, origin.describe(self.config, self.step, self._rows))

    def _what_is_left(self, problem: Divergence) -> str:
        self.writer.wait()
        latest = checkpoint.newest(self.folder / CHECKPOINTS)
        left = "there is no checkpoint before it" if latest is None else f"the last good checkpoint is {latest}"
        streaming = hasattr(self.config.hyperparameters, "actor_lr")
        return f"{left}; {problem.advice('lower `--actor-lr` or `--critic-lr`') if streaming else problem.advice()}"


def initialize(agent: Any, init_keys: Key, keys: Key, warmup: int) -> tuple[PyTree, np.ndarray]:
    """Initialize the state of all seeds.

    Args:
        agent: The agent.
        init_keys: Keys of initialization, `[seeds]`.
        keys: Keys of training, `[seeds]`; the warmup's randomness is that of step 0.
        warmup: Environment steps of each seed with random actions.

    Returns:
        The state of all seeds, and the first fault of the warmup, as `faults.first_fault` numbers it, `[seeds]`.
    """

    def one(init_key: Key, key: Key) -> tuple[PyTree, Array]:
        state = agent.init(init_key)
        if not warmup:
            return state, jnp.zeros((), jnp.int8)
        state, logs = lox.spool(agent.warmup)(key, state, warmup)
        return state, reduce_logs(logs, state.learner).fault

    state, fault = jax.jit(jax.vmap(one))(init_keys, keys)
    return state, jax.device_get(fault)


def compile_interval(agent: Any, keys: Key, state: PyTree, length: int) -> jax.stages.Compiled:
    """Compile `length` steps of training of all seeds, with their metrics reduced on the device.

    Args:
        agent: The agent.
        keys: Training keys, `[seeds]`.
        state: Of all seeds, `[seeds, ...]`; its buffers are donated.
        length: Steps of each seed.
    """

    def one(key: Key, state: PyTree) -> tuple[PyTree, Interval]:
        state, logs = lox.spool(agent.train)(key, state, length)
        return state, reduce_logs(logs, state.learner)

    return jax.jit(jax.vmap(one), donate_argnums=1).lower(keys, state).compile()


def restore_state(agent: Any, init_keys: Key, path: Path, check: Callable[[dict[str, Any] | None], object]) -> PyTree:
    """Read the state of all seeds from a checkpoint.

    Args:
        agent: The agent.
        init_keys: Keys of initialization, `[seeds]`.
        path: The checkpoint's folder.
        check: Given what the checkpoint belongs to; raises to refuse it.

    Raises:
        ValueError: It is damaged, or of another configuration.
    """
    abstract = jax.eval_shape(jax.vmap(agent.init), init_keys)
    return jax.tree.map(jnp.asarray, checkpoint.restore(path, abstract, check))
