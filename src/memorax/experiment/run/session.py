"""The run loop: trains all seeds in compiled intervals, logs, and saves checkpoints."""

import contextlib
import dataclasses
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

from memorax.core.types import PyTree
from memorax.environments import HostEnvironmentError
from memorax.experiment.callbacks import Callback, stopping_rules
from memorax.experiment.config import RunConfig
from memorax.experiment.loggers import Composite, LoggerError, Row, read_rows
from memorax.experiment.run import checkpoint, origin, recovery
from memorax.experiment.run.best import BestCheckpoint
from memorax.experiment.run.diagnosis import Divergence, borne_faults, diagnose
from memorax.experiment.run.display import Display
from memorax.experiment.run.engine import Engine
from memorax.experiment.run.episodes import Evaluates
from memorax.experiment.run.files import BEST, CHECKPOINTS, METRICS_FILE, remove_temporary_files
from memorax.experiment.run.folders import Claim
from memorax.experiment.run.hosts import group
from memorax.experiment.run.interrupt import Interruption
from memorax.experiment.run.metrics import rows
from memorax.experiment.run.series import Series


class DivergenceError(RuntimeError):
    """Training met NaN or infinity; the message says where it came from, and which checkpoint is left."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        folder: The run's folder.
        step: Number of environment steps that each seed has been trained for.
        signal: Number of the signal that stopped the run early; None if it is complete.
        stopped_by: The callback that ended the run before all steps were made; None if none did.
        summary: The content of `summary.json`; empty if the run was stopped early.
        error: How the run diverged, if it did beside others; a run alone raises it.
    """

    folder: Path
    step: int
    signal: int | None = None
    stopped_by: Callback | None = None
    summary: dict[str, Any] = dataclasses.field(default_factory=dict)
    error: DivergenceError | None = None


class Session:
    """A run in progress: starts from the newest checkpoint in the folder, or from the beginning if there is none.

    Args:
        config: The run; `log_every` is filled in.
        engine: The agent of that configuration on its devices.
        claim: The run's folder; released by `close`.
        logger: Where the metrics go; `metrics.jsonl` in the folder is read on resume. Closed by `close`.
        callbacks: Called at the end of every logging interval.
        begin: Changes the initial state of a new run.
        evaluator: Evaluates while training, where the configuration says so.

    Raises:
        ValueError: A checkpoint is damaged or of another configuration, or the run is past its end already.

    Attributes:
        step: Environment steps that each seed has been trained for.
        total: Environment steps of each seed at the end.
        rows: Metrics of the last interval, one row per seed.
        warnings: Why the resumed run may not go on with the same bits.
        received_signal: SIGINT or SIGTERM, if one was received during `run`, even too late to stop anything.
    """

    def __init__(
        self,
        config: RunConfig,
        engine: Engine,
        claim: Claim,
        logger: Composite,
        callbacks: Sequence[Callback] = (),
        begin: Callable[[PyTree], PyTree] = lambda state: state,
        evaluator: Evaluates | None = None,
    ) -> None:
        self.config, self.engine, self.claim, self.logger = config, engine, claim, logger
        self.folder, self.seeds = claim.folder, config.seed_numbers()
        folder, update = self.folder, engine.agent.steps_per_update
        self.total = config.steps // update * update
        self.received_signal: int | None = None
        self.rows: list[Row] = []
        self._rules, self._callbacks = stopping_rules(config), tuple(callbacks)
        self._evaluator, self._failed = evaluator, False
        latest = checkpoint.newest(folder / CHECKPOINTS)
        self.step = 0 if latest is None else int(latest.name)
        if self.step > self.total:
            raise ValueError(
                f"`steps` must be at least {self.step:,} to resume {folder}, which got that far, got {config.steps:,}"
            )
        kept = read_rows(folder / METRICS_FILE, self.step)
        self._rows = origin.RowCount(kept)
        self.warnings = list(claim.warnings)

        def check(found: dict[str, Any] | None) -> None:
            if latest is not None:
                self.warnings += origin.check(found, config, latest, self._rows, engine.devices.number)

        if latest is None:
            engine.begin(config.warmup, begin)
        else:
            engine.restore(latest, check)
        self._seen = frozenset(name for row in kept for name in row)
        self._borne: frozenset[int] = frozenset()
        self._elapsed = kept[-1].get("time/elapsed_seconds", 0.0) if kept else 0.0
        logger.start(kept)
        self._series = Series(lambda: read_rows(folder / METRICS_FILE))
        remove_temporary_files(folder)
        self.writer = checkpoint.CheckpointWriter(folder / CHECKPOINTS)
        self._best = BestCheckpoint(config.keep_best, folder / BEST, self.step, self._series.get)
        self._watch = recovery.Watch(folder)

    def run(self, display: Display) -> Outcome:
        """Train to the end, or until SIGINT or SIGTERM; either way everything is saved.

        Raises:
            DivergenceError: Something became NaN or infinite.
            HostEnvironmentError: An environment failed, or its process died; what was learned is saved.
            OSError: The disk failed or is full, or the folder was removed or moved; the message says what is kept.
        """
        with Interruption() as interruption:
            training = self.intervals(display, interruption)
            while True:
                try:
                    next(training)
                except StopIteration as stop:
                    return stop.value

    def intervals(self, display: Display, interruption: Interruption) -> Generator[int, None, Outcome]:
        """Train as `run` does, but yield before each interval, whose length it says: so several runs take turns."""
        stopped_by = None
        try:
            stopped_by = yield from self._train(display, interruption)
        except BaseException as error:
            self._failed = True
            if isinstance(error, OSError):
                raise self._explained(error) from error
            raise
        finally:
            self.received_signal = interruption.signal
        # A signal in the last interval has nothing left to stop.
        complete = self.step >= self.total or stopped_by is not None
        return Outcome(self.folder, self.step, None if complete else interruption.signal, stopped_by)

    @property
    def agent(self) -> Any:
        """The agent of all seeds."""
        return self.engine.agent

    @property
    def state(self) -> PyTree:
        """The state of all seeds, `[seeds, ...]`."""
        return self.engine.state

    def series(self, metric: str) -> Sequence[tuple[int, float]]:
        """Give all values of a metric so far, as `memorax.experiment.callbacks.TrainingRun` has it."""
        return self._series.get(metric)

    def save_checkpoint(self) -> Path:
        """Save a checkpoint of this step, and wait until it is complete."""
        self._save()
        self.writer.wait()
        return checkpoint.complete(self.folder / CHECKPOINTS)[-1]

    def _train(self, display: Display, interruption: Interruption) -> Generator[int, None, Callback | None]:
        """Train until the end, a signal, or a callback that ends the run, and give that callback."""
        if self.step == 0 and self.config.fork is not None:
            self._save()  # what it began with may be gone when it is resumed
        stopped_by = self._stopped_by(self._rules)
        while self.step < self.total and interruption.signal is None and stopped_by is None:
            length = min(self._interval(), self.total - self.step)
            before = self.step
            self.engine.prepare(length)
            if interruption.signal is not None:
                break
            yield length
            try:
                self._advance(length, display)
            except HostEnvironmentError as error:
                raise self._saved_after(error) from error
            interruption.signal = group().signal() or interruption.signal  # this one last: it may come meanwhile
            if not self._watch.is_intact():
                raise recovery.FolderLostError
            every = self.config.checkpoint_every
            if self.step // every > before // every:
                self._save()
            stopped_by = self._stopped_by([*self._rules, *self._callbacks])
        self._save()
        self.writer.wait()
        self._best.settle(checkpoint.newest(self.folder / CHECKPOINTS))
        return stopped_by

    def _explained(self, error: OSError) -> OSError:
        """An error that also says what is kept, after saving what still can be."""
        with contextlib.suppress(OSError):
            self.writer.wait()
        with contextlib.suppress(OSError):
            if not self._watch.is_intact():
                return recovery.FolderLostError(recovery.rescue(self._watch, self.config, self._save_by, self.step))
        text = recovery.explain(error, self.folder)
        return LoggerError(text) if isinstance(error, LoggerError) else OSError(text)

    def close(self) -> None:
        """Wait for a save that is under way, and release files and folder."""
        with contextlib.suppress(*[OSError] * self._failed), contextlib.ExitStack() as stack:
            stack.callback(self.claim.release)
            stack.callback(self._watch.close)
            stack.callback(self.writer.close)
            stack.callback(self._best.close)
            stack.callback(self.logger.close)
            stack.callback(getattr(self.agent, "close", lambda: None))
            if self._evaluator is not None:
                stack.callback(self._evaluator.close)

    def _stopped_by(self, callbacks: Sequence[Callback]) -> Callback | None:
        """Call all, and give the first that ends the run."""
        wanting = [callback for callback in callbacks if callback.on_interval(self)]
        return wanting[0] if wanting else None

    def _interval(self) -> int:
        """Steps to the end of the logging interval; intervals end at the same steps however the run was interrupted."""
        every = self.config.log_every or self.agent.steps_per_update
        return every - self.step % every

    def _advance(self, length: int, display: Display) -> None:
        interval, length, failure = self.engine.advance(length)
        seconds, steps = self.engine.seconds, (self.step, self.step + length)
        suspicion = self._seen, self._borne, self.engine.warmup
        problem = diagnose(interval, self.engine.suspects(interval), steps, self.seeds, *suspicion)
        if problem is not None:
            raise DivergenceError(f"{problem.message}; {self._what_is_left(problem)}")
        self._borne |= borne_faults(interval)
        self.step += length
        self._elapsed += seconds
        evaluated: Sequence[Row] = ()
        try:
            evaluated = self._evaluate(steps[0])
        except HostEnvironmentError as error:
            failure = error  # raised once what was trained is logged
        speed = {"time/steps_per_second": length * len(self.seeds) / seconds, "time/elapsed_seconds": self._elapsed}
        time_row = {name: round(value, 3) for name, value in speed.items()}
        self.rows = made = rows(interval, self.step, self.seeds, time_row, evaluated)
        self.logger.write(made)
        self._series.add(made)
        self._rows.add(made)
        self._seen |= {name for row in made for name in row}
        display.show(self.step, made)
        while self.logger.notices:
            display.note(f"warning: {self.logger.notices.pop(0)}")
        if self._best.improved(self.step):
            self.logger.sync()
            self._best.save(self.step, self.engine.snapshot(), self._origin(self._rows))
        if failure is not None:
            raise failure

    def _saved_after(self, error: HostEnvironmentError) -> HostEnvironmentError:
        """Save, and say so."""
        self._save()
        self.writer.wait()
        return HostEnvironmentError(
            f"{error}; saved at step {self.step:,}, resume with `memorax train --resume --out {self.folder}`"
        )

    def _evaluate(self, before: int) -> Sequence[Row]:
        """Evaluate where it is due; the metrics of each seed."""
        every = self.config.eval_every
        if self._evaluator is None or every is None or self.step // every == before // every:
            return ()
        group().announce("evaluate", step=self.step)
        return self._evaluator.evaluate(self.state, self.step)

    def _save(self) -> None:
        self.logger.sync()
        # A complete checkpoint stands for the best ones up to it.
        self._best.settle(checkpoint.newest(self.folder / CHECKPOINTS))
        self.writer.save(self.step, self.engine.snapshot(), self._origin(self._rows))

    def _save_by(self, writer: checkpoint.CheckpointWriter, metrics: Path) -> None:
        rows = origin.RowCount(read_rows(metrics, self.step))
        writer.save(self.step, self.engine.snapshot(), self._origin(rows))

    def _origin(self, rows: origin.RowCount) -> dict[str, Any]:
        """What a checkpoint of this step belongs to."""
        return origin.describe(self.config, self.step, rows, self.engine.devices.number)

    def _what_is_left(self, problem: Divergence) -> str:
        self.writer.wait()
        latest = checkpoint.newest(self.folder / CHECKPOINTS)
        left = "there is no checkpoint before it" if latest is None else f"the last good checkpoint is {latest}"
        streaming = hasattr(self.config.hyperparameters, "actor_lr")
        return f"{left}; {problem.advice('lower `--actor-lr` or `--critic-lr`') if streaming else problem.advice()}"
