"""The run loop: trains all seeds in compiled intervals, and leaves behind a folder that says what happened."""

import dataclasses
import os
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from rich.console import Console

from memorax import lox
from memorax.core.types import Key, PyTree
from memorax.experiment import checkpoint
from memorax.experiment.build import build_agent
from memorax.experiment.config import RunConfig, check_same_run, load_config, save_config
from memorax.experiment.display import Display, make_display
from memorax.experiment.files import CHECKPOINTS, CONFIG_FILE, METRICS_FILE, check_writable
from memorax.experiment.interrupt import Interruption
from memorax.experiment.loggers import JsonLines, truncate
from memorax.experiment.metrics import Interval, diagnose, reduce_logs, rows
from memorax.experiment.summary import write_summary

_LINES = 100
"""About how many log lines a run has where nobody says how many."""


class DivergenceError(RuntimeError):
    """Training produced NaN or infinity; the message says where, and what is left."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        folder: What it left behind.
        step: The step it got to, of each seed.
        signal: Number of the signal that stopped it early; None where it came to its end.
    """

    folder: Path
    step: int
    signal: int | None = None


def seed_keys(seeds: list[int]) -> tuple[Key, Key, Key]:
    """Derive the keys of initialization, training and evaluation, `[seeds]` each, from the seeds' numbers alone."""

    def split(seed: jax.Array) -> Key:
        return jax.random.split(jax.random.key(seed), 3)

    keys = jax.vmap(split)(jnp.asarray(seeds, jnp.uint32))
    return keys[:, 0], keys[:, 1], keys[:, 2]


def train(config: RunConfig, folder: Path, *, resume: bool = False, console: Console | None = None) -> Outcome:
    """Train, and leave configuration, metrics, checkpoints, learning curve and summary in a folder.

    A run is the same, bit for bit but for `time/*`, however often it is stopped, killed and resumed.

    Args:
        config: What to train.
        folder: Where to leave it; empty or not there yet, unless an earlier run is resumed.
        resume: Whether to go on from the newest checkpoint in `folder`.
        console: Where to show the progress; None for standard output.

    Returns:
        How it ended.

    Raises:
        DivergenceError: Something became NaN or infinite. Nothing of it is saved.
        OSError: The disk failed or is full.
        ValueError: The configuration is refused, or the folder cannot be used.
    """
    session = prepare(config, folder, resume=resume)
    display = make_display(console or Console(), session.total, session.step)
    display.note(f"resuming {folder} at step {session.step:,}" if resume else f"writing {folder}")
    try:
        outcome = session.run(display)
    finally:
        display.close()
        session.close()
    if outcome.signal is None:
        write_summary(folder, session.config, session.step, session.compile_seconds)
    return outcome


def prepare(config: RunConfig, folder: Path, *, resume: bool = False) -> "Session":
    """Check everything that can be checked before training, and make ready.

    Args:
        config: What to train.
        folder: Where to leave it.
        resume: Whether to go on with the run in it.

    Raises:
        TypeError: No head serves the environment's action space.
        ValueError: The configuration is refused, or the folder cannot be used.
    """
    if resume:
        stored = load_config(folder)
        config = dataclasses.replace(config, log_every=config.log_every or stored.log_every)
        check_same_run(stored, config, folder)
    elif holds_something(folder):
        raise ValueError(
            f"`out` must be an empty or a new folder, got {folder}, which holds something; "
            "go on with the run in it by `--resume`, or choose another `--out`"
        )
    agent = build_agent(config)
    config = with_log_interval(config, agent.steps_per_update)
    check_writable(folder)
    session = Session(config, agent, folder)
    save_config(folder, config)
    return session


def holds_something(folder: Path) -> bool:
    """Whether a folder holds a file that is not merely the temporary one of a killed process."""
    return folder.exists() and (not folder.is_dir() or any(not p.name.startswith(".") for p in folder.iterdir()))


def with_log_interval(config: RunConfig, update: int) -> RunConfig:
    """Fill in how often to log, in whole updates of `update` steps; prefer what divides the run without a rest.

    Raises:
        ValueError: The run is shorter than an update.
    """
    updates = config.steps // update
    if updates < 1:
        raise ValueError(f"`steps` must be at least one update ({update:,}), got {config.steps:,}")
    if config.log_every is None:
        wanted = max(1, updates // _LINES)
        lengths = range(max(1, wanted // 2), 2 * wanted + 1)
        # What is left over at the end needs a program of its own, and should be long enough to say something.
        length = min(lengths, key=lambda n: (-updates % n, abs(n - wanted)))
    else:
        length = max(1, config.log_every // update)
    return dataclasses.replace(config, log_every=length * update)


class Session:
    """A run in progress: begins anew, or from the newest checkpoint in the folder.

    Args:
        config: What to train; `log_every` is filled in.
        agent: What learns.
        folder: The run's folder; it is there and can be written to.

    Raises:
        ValueError: A checkpoint is damaged or of another configuration.
    """

    def __init__(self, config: RunConfig, agent: Any, folder: Path) -> None:
        self.config, self.agent, self.folder = config, agent, folder
        self.seeds = config.seed_numbers()
        self.total = config.steps // agent.steps_per_update * agent.steps_per_update
        self.compile_seconds = 0.0
        self._compiled: dict[int, jax.stages.Compiled] = {}
        init_keys, self._keys, _ = seed_keys(self.seeds)
        latest = checkpoint.newest(folder / CHECKPOINTS)
        if latest is None:
            self.step, self.state = 0, jax.jit(jax.vmap(agent.init))(init_keys)
        else:
            self.step, self.state = int(latest.name), restore_state(agent, init_keys, latest)
        self.writer = checkpoint.CheckpointWriter(folder / CHECKPOINTS)
        kept = truncate(folder / METRICS_FILE, self.step)
        self._seen = frozenset(name for row in kept for name in row)
        self._elapsed = kept[-1]["time/elapsed_seconds"] if kept else 0.0
        self.logger = JsonLines(folder / METRICS_FILE)

    def run(self, display: Display) -> Outcome:
        """Train to the end, or until a signal asks to stop; either way everything is saved.

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
        return Outcome(self.folder, self.step, interruption.signal)

    def close(self) -> None:
        """Finish what is under way and release the files."""
        self.logger.close()
        self.writer.close()

    def _interval(self) -> int:
        """Steps to the next log line, which come at the same steps however the run was cut."""
        every = self.config.log_every or self.agent.steps_per_update
        return every - self.step % every

    def _program(self, length: int) -> jax.stages.Compiled:
        """Compile an interval, once per length: all have the same but the one that is left over at the end."""
        if length not in self._compiled:
            begin = time.perf_counter()
            self._compiled[length] = compile_interval(self.agent, self._keys, self.state, length)
            self.compile_seconds += time.perf_counter() - begin
        return self._compiled[length]

    def _advance(self, program: jax.stages.Compiled, length: int, display: Display) -> None:
        begin = time.perf_counter()
        self.state, interval = program(self._keys, self.state)
        interval: Interval = jax.device_get(interval)
        seconds = time.perf_counter() - begin
        steps = self.step, self.step + length
        problem = diagnose(interval, self.state.learner, steps, self.seeds, self._seen)
        if problem is not None:
            raise DivergenceError(f"{problem}; {self._what_is_left()}")
        self.step += length
        self._elapsed += seconds
        speed = {"time/steps_per_second": length * len(self.seeds) / seconds, "time/elapsed_seconds": self._elapsed}
        made = rows(interval, self.step, self.seeds, {name: round(value, 3) for name, value in speed.items()})
        self.logger.write(made)
        self._seen |= {name for row in made for name in row}
        display.show(self.step, made)

    def _save(self) -> None:
        self.logger.sync()
        self.writer.save(self.step, self.state)

    def _what_is_left(self) -> str:
        self.writer.wait()
        latest = checkpoint.newest(self.folder / CHECKPOINTS)
        left = "there is no checkpoint before it" if latest is None else f"the last good checkpoint is {latest}"
        return f"{left}; try a lower `--learning-rate` or `--max-grad-norm` in a new run"


def compile_interval(agent: Any, keys: Key, state: PyTree, length: int) -> jax.stages.Compiled:
    """Compile `length` steps of training of all seeds, with their metrics reduced on the device.

    Args:
        agent: What learns.
        keys: Training keys, `[seeds]`.
        state: Of all seeds, `[seeds, ...]`; its buffers are donated.
        length: Steps of each seed.
    """

    def one(key: Key, state: PyTree) -> tuple[PyTree, Interval]:
        state, logs = lox.spool(agent.train)(key, state, length)
        return state, reduce_logs(logs, state.learner)

    return jax.jit(jax.vmap(one), donate_argnums=1).lower(keys, state).compile()


def restore_state(agent: Any, init_keys: Key, path: Path) -> PyTree:
    """Read the state of all seeds from a checkpoint.

    Raises:
        ValueError: It is damaged, or of another configuration.
    """
    abstract = jax.eval_shape(jax.vmap(agent.init), init_keys)
    return jax.tree.map(jnp.asarray, checkpoint.restore(path, abstract))


def free_folder(base: Path) -> Path:
    """Find a folder that holds nothing yet: `base`, else `base-2`, `base-3`, ..."""
    number, folder = 1, base
    while holds_something(folder):
        number += 1
        folder = base.with_name(f"{base.name}-{number}")
    return folder


def latest_folder(base: Path) -> Path:
    """Find the newest of the folders that `free_folder` gave out; `base` where there is none."""
    numbered = [p for p in base.parent.glob(f"{base.name}-*") if p.name[len(base.name) + 1 :].isdigit()]
    runs = [p for p in (base, *numbered) if (p / CONFIG_FILE).is_file()]
    return max(runs, key=lambda p: int(p.name[len(base.name) + 1 :] or 1), default=base)


def resume_command(outcome: Outcome) -> str:
    """Say how to go on with a run that was stopped."""
    return f"memorax train --resume --out {os.fspath(outcome.folder)}"
