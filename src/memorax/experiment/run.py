"""The run loop: trains all seeds in compiled intervals, and leaves behind a folder that says what happened."""

import dataclasses
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
from memorax.experiment.files import CHECKPOINTS, METRICS_FILE
from memorax.experiment.folders import Claim, claim_empty, claim_free, default_folder, latest_folder
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
        summary: What `summary.json` says; empty where it was stopped early.
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


def train(
    config: RunConfig, folder: Path | None = None, *, resume: bool = False, console: Console | None = None
) -> Outcome:
    """Train, and leave configuration, metrics, checkpoints, learning curve and summary in a folder.

    A run is the same, bit for bit but for `time/*`, however often it is stopped, killed and resumed.

    Args:
        config: What to train.
        folder: Where to leave it; empty or not there yet, unless an earlier run is resumed. None: a new folder in
            `runs`, named after the run; when resuming, the newest of that name.
        resume: Whether to go on from the newest checkpoint in `folder`.
        console: Where to show the progress; None for standard output.

    Returns:
        How it ended.

    Raises:
        DivergenceError: Something became NaN or infinite. Nothing of it is saved.
        OSError: The disk failed or is full.
        TypeError: No head serves the environment's action space, or the environment does not take `env_options`.
        ValueError: The configuration is refused, or the folder cannot be used.
    """
    return finish(prepare(config, folder, resume=resume), console)


def prepare(config: RunConfig, folder: Path | None = None, *, resume: bool = False) -> "Session":
    """Check everything that can be checked before training, and make ready; takes and raises what `train` does."""
    if resume:
        folder = folder or latest_folder(default_folder(config))
        stored = load_config(folder)
        config, agent = _build(dataclasses.replace(config, log_every=config.log_every or stored.log_every))
        check_same_run(stored, config, folder)
        claim = Claim(folder)
    else:
        config, agent = _build(config)
        claim = claim_free(default_folder(config)) if folder is None else claim_empty(folder)
    try:
        if not resume:
            save_config(claim.folder, config)
        session = Session(config, agent, claim)
        if resume:  # only now, so that a run that is refused stays as it is
            save_config(claim.folder, config)
    except BaseException:
        claim.release()
        raise
    return session


def finish(session: "Session", console: Console | None = None) -> Outcome:
    """Train what was prepared, show how it is going, and sum it up; takes and raises what `train` does."""
    config = session.config
    display = make_display(console or Console(), session.total, session.step)
    display.note(f"{config.algorithm} with {config.model} on {config.task()}, {config.seeds} seeds -> {session.folder}")
    if session.step:
        display.note(f"going on from step {session.step:,}")
    try:
        outcome = session.run(display)
    finally:
        display.close()
        session.close()
    if outcome.signal is not None:
        return outcome
    summary = write_summary(session.folder, config, session.step, session.compile_seconds)
    return dataclasses.replace(outcome, summary=summary)


def _build(config: RunConfig) -> tuple[RunConfig, Any]:
    """Build the agent, and fill in what follows from it."""
    agent = build_agent(config)
    return with_log_interval(config, agent.steps_per_update), agent


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
        claim: The run's folder; given back by `close`.

    Raises:
        ValueError: A checkpoint is damaged or of another configuration, or the run is past its end already.
    """

    def __init__(self, config: RunConfig, agent: Any, claim: Claim) -> None:
        self.config, self.agent, self.claim = config, agent, claim
        self.folder = folder = claim.folder
        self.seeds = config.seed_numbers()
        self.total = config.steps // agent.steps_per_update * agent.steps_per_update
        self.compile_seconds = 0.0
        self._compiled: dict[int, jax.stages.Compiled] = {}
        init_keys, self._keys, _ = seed_keys(self.seeds)
        latest = checkpoint.newest(folder / CHECKPOINTS)
        self.step = 0 if latest is None else int(latest.name)
        if self.step > self.total:
            raise ValueError(
                f"`steps` must be at least {self.step:,} to resume {folder}, which got that far, got {config.steps:,}"
            )
        if latest is None:
            self.state = begin(agent, init_keys, self._keys, config.warmup)
        else:
            self.state = restore_state(agent, init_keys, latest)
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
        # A signal in the last interval comes too late to stop anything.
        return Outcome(self.folder, self.step, interruption.signal if self.step < self.total else None)

    def close(self) -> None:
        """Finish what is under way, and release the files and the folder."""
        try:
            self.logger.close()
            self.writer.close()
        finally:
            self.claim.release()

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


def begin(agent: Any, init_keys: Key, keys: Key, warmup: int) -> PyTree:
    """Make the state of all seeds before training.

    Args:
        agent: What learns.
        init_keys: Keys of initialization, `[seeds]`.
        keys: Keys of training, `[seeds]`; the warmup's randomness is that of step 0.
        warmup: Environment steps of each seed with random actions.
    """

    def one(init_key: Key, key: Key) -> PyTree:
        state = agent.init(init_key)
        return agent.warmup(key, state, warmup) if warmup else state

    return jax.jit(jax.vmap(one))(init_keys, keys)


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
