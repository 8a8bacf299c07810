"""Training several runs side by side, in one program."""

import contextlib
import signal
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from rich.console import Console

from memorax.experiment.build import with_exploration
from memorax.experiment.callbacks import Callback
from memorax.experiment.config import RunConfig
from memorax.experiment.loggers import Logger, Row
from memorax.experiment.recipes import build_agent
from memorax.experiment.run.batch import Batch, Lane, LaneEvaluator
from memorax.experiment.run.cores import split_cores
from memorax.experiment.run.display import Display, make_display
from memorax.experiment.run.engine import Engine
from memorax.experiment.run.episodes import Evaluates, Evaluator
from memorax.experiment.run.files import CONFIG_FILE
from memorax.experiment.run.grouping import differences, run_hyperparameters
from memorax.experiment.run.hosts import group
from memorax.experiment.run.interrupt import Interruption
from memorax.experiment.run.intervals import with_log_interval
from memorax.experiment.run.programs import own_values
from memorax.experiment.run.python_environments import in_python
from memorax.experiment.run.session import DivergenceError, Outcome, Session
from memorax.experiment.run.train import Maker, announce, conclude, prepare


def train_many(  # noqa: PLR0913  how to run them, by keyword
    configs: Sequence[RunConfig],
    folders: Sequence[str | Path | None] | None = None,
    *,
    resume: bool = False,
    changes: Mapping[str, Any] | None = None,
    loggers: Sequence[str | Logger] = (),
    callbacks: Sequence[Callback] = (),
    devices: Literal["cores"] | None = None,
    console: Console | None = None,
    return_on_signal: bool = False,
) -> list[Outcome]:
    """Train several runs side by side in one compiled program, mapped over all their seeds.

    Each is an ordinary run in a folder of its own, what `train(config, folder)` makes of it up to rounding: it can be
    stopped, killed and resumed, alone or beside others. Signals take effect as in `train`, on all runs. A run that
    diverges, that a callback ends, or that is complete does not end the others.

    The runs may differ in every hyperparameter that is a real number, in `seed`, and in what is saved, logged and
    stopped by; `group_runs` groups those that may be trained together.

    Args:
        configs: The runs.
        folders: Where to save each; as `train` takes them. None: new folders in `runs`.
        resume: Whether to resume the runs in those folders that hold one; the others begin.
        changes: New values, by field, from where runs are resumed on, as `train` takes them.
        loggers: Where the metrics of each run go besides `metrics.jsonl`.
        callbacks: Called after every logging interval, for each run; True ends that run alone.
        devices: `"cores"`: on a CPU, the seeds of all runs are divided over as many of its cores as divide them, if JAX
            has not computed anything before. None: one device trains all.
        console: Where to show the progress; None for standard output.
        return_on_signal: Whether to return after SIGINT or SIGTERM, with the signal in the outcomes.

    Returns:
        How each run ended; that of one that diverged holds the error.

    Raises:
        KeyboardInterrupt: The runs were stopped by SIGINT, and saved.
        OSError: The disk failed or is full, or a logger failed.
        TypeError: The environment runs in Python, or does not take `env_options`.
        ValueError: A configuration is refused, two runs cannot share a program, or a folder cannot be used.
    """
    how: dict[str, Any] = {"resume": resume, "changes": changes, "loggers": loggers, "callbacks": callbacks}
    sessions, batch = prepare_many(configs, folders, devices=devices, **how)
    try:
        return finish_many(sessions, batch, console)
    finally:
        signals = [session.received_signal for session in sessions if session.received_signal is not None]
        if signals and not return_on_signal:
            signal.raise_signal(signals[0])


def prepare_many(  # noqa: PLR0913  how to run them, by keyword
    configs: Sequence[RunConfig],
    folders: Sequence[str | Path | None] | None = None,
    *,
    resume: bool = False,
    changes: Mapping[str, Any] | None = None,
    loggers: Sequence[str | Logger] = (),
    callbacks: Sequence[Callback] = (),
    devices: Literal["cores"] | None = None,
    maker: "SharedMaker | None" = None,
) -> tuple[list[Session], Batch]:
    """Check everything that can be checked before training; takes and raises what `train_many` does.

    A `maker` makes what the runs compute with; None: an agent of their own.

    Returns:
        The runs and their batch, ready to be trained by `finish_many`.
    """
    folders = [None] * len(configs) if folders is None else [None if x is None else Path(x) for x in folders]
    _check_runs(configs, folders)
    if devices == "cores":
        split_cores(sum(config.seeds for config in configs))
    maker = maker or SharedMaker(configs[0], on_cores=devices == "cores")
    sessions: list[Session] = []
    with contextlib.ExitStack() as stack:
        for config, folder in zip(configs, folders, strict=True):
            known = resume and folder is not None and (folder / CONFIG_FILE).is_file()
            how: dict[str, Any] = {"resume": known, "loggers": loggers, "callbacks": callbacks, "maker": maker}
            sessions.append(prepare(config, folder, changes=changes if known or not resume else None, **how))
            stack.callback(sessions[-1].close)
        stack.pop_all()
    return sessions, maker.batch


class Rounds(Protocol):
    """What happens between the intervals of runs that have to do with each other."""

    def before(self, lanes: Sequence[Lane], parts: Sequence["Part"]) -> None:
        """Called before the batch computes an interval of all runs."""
        ...

    def after(self, lanes: Sequence[Lane]) -> None:
        """Called when it has, before the runs take it."""
        ...


def finish_many(
    sessions: Sequence[Session], batch: Batch, console: Console | None = None, rounds: Rounds | None = None
) -> list[Outcome]:
    """Train what was prepared, show the progress, and summarize; raises what `train_many` does.

    Args:
        sessions: The runs; they are closed.
        batch: Their batch.
        console: Where to show the progress; None for standard output.
        rounds: What happens between intervals; None: nothing.

    Returns:
        How each run ended; SIGINT and SIGTERM have no other effect than this.
    """
    display = make_display(console or Console(), sessions[0].total, min(session.step for session in sessions))
    views = [Part(display, session.folder) for session in sessions]
    ended: dict[int, Outcome] = {}
    # A signal is seen by all runs after the same interval.
    interruption, turn = Interruption(), Interruption()
    try:
        with interruption:
            for session, view in zip(sessions, views, strict=True):
                announce(session, view)
            training = {i: sessions[i].intervals(views[i], turn) for i in range(len(sessions))}
            while len(ended) < len(sessions):
                turn.signal = interruption.signal
                came = {i: _next(training[i], sessions[i]) for i in range(len(sessions)) if i not in ended}
                ended |= {i: outcome for i, outcome in came.items() if isinstance(outcome, Outcome)}
                _show(display, views)
                _advance(batch, {_lane(sessions[i]): n for i, n in came.items() if isinstance(n, int)}, views, rounds)
    finally:
        for session in sessions:
            session.received_signal = interruption.signal
        display.close()
        with contextlib.ExitStack() as stack:
            for session in sessions:
                stack.callback(session.close)
    for i, outcome in ended.items():
        if outcome.error is None:
            ended[i] = conclude(sessions[i], outcome, views[i])
        else:
            views[i].note(f"error: {outcome.error}")
    return [ended[i] for i in range(len(sessions))]


class SharedMaker(Maker):
    """Makes what several runs compute with, of which only the hyperparameters differ.

    Args:
        config: One of the runs.
        on_cores: Whether CPU devices divide the seeds of all runs.

    Raises:
        TypeError: The environment runs in Python.
    """

    def __init__(self, config: RunConfig, *, on_cores: bool = False) -> None:
        super().__init__()
        self.agent = build_agent(config)
        if in_python(self.agent):
            self.agent.close()
            raise TypeError(
                f"`env` of runs that share a program must be compiled, got {config.env}, which runs in Python; train "
                "one run at a time"
            )
        self.batch = Batch(self.agent, on_cores=on_cores)
        self._evaluator: Evaluator | None = None

    def build(self, config: RunConfig) -> tuple[RunConfig, Any]:
        """Give the agent that all runs have, and fill in what follows from it."""
        return with_log_interval(with_exploration(config), self.agent.steps_per_update), self.agent

    def equip(self, config: RunConfig, agent: Any, folder: Path | None = None) -> tuple[Engine, Evaluates | None]:
        """Give the run's part of the batch, and what evaluates it in programs that all runs have."""
        lane = Lane(self.batch, config.seed_numbers(), run_hyperparameters(config, list(own_values(agent))))
        if config.eval_every is None:
            return lane, None
        if self._evaluator is None:
            self._evaluator = Evaluator(config, agent, lane.evaluation_keys)
        return lane, LaneEvaluator(lane, self._evaluator)


class Part:
    """Shows one of several runs: its messages with its name before them, its metrics together with those of the others.

    Args:
        display: Shows all runs.
        folder: The run's folder.
    """

    def __init__(self, display: Display, folder: Path) -> None:
        self.display, self.name, self.rows, self.step = display, folder.name, [], 0

    def note(self, text: str) -> None:
        """Print a message."""
        self.display.note(f"{self.name}: {text}")

    def show(self, step: int, rows: list[Row]) -> None:
        """Keep the rows until all runs have theirs."""
        self.step, self.rows = step, rows

    def close(self) -> None:
        """Leave it to the display of all runs."""


def _advance(batch: Batch, lengths: dict[Lane, int], views: Sequence[Part], rounds: Rounds | None) -> None:
    """Train the runs that have not ended."""
    lanes = list(lengths)
    if rounds is not None and lanes:
        rounds.before(lanes, views)
    batch.advance(lengths)
    if rounds is not None and lanes:
        rounds.after(lanes)


def _show(display: Display, parts: Sequence[Part]) -> None:
    """Show the rows that runs have kept, in one line."""
    rows = [row for part in parts for row in part.rows]
    if rows:
        speed = sum(part.rows[0]["time/steps_per_second"] for part in parts if part.rows)
        display.show(max(part.step for part in parts), [rows[0] | {"time/steps_per_second": speed}, *rows[1:]])
    for part in parts:
        part.rows = []


def _next(training: Generator[int, None, Outcome], session: Session) -> int | Outcome:
    """Let a run log and save the interval that was computed; the length of the next one, or how the run ended."""
    try:
        return next(training)
    except StopIteration as stop:
        return stop.value
    except DivergenceError as error:
        return Outcome(session.folder, session.step, error=error)


def _lane(session: Session) -> Lane:
    engine = session.engine
    assert isinstance(engine, Lane)  # noqa: S101
    return engine


def _check_runs(configs: Sequence[RunConfig], folders: Sequence[Path | None]) -> None:
    """Refuse runs that cannot share a program.

    Raises:
        TypeError: They are no runs.
        ValueError: There are none, two cannot share a program, the number of folders is another one, or there are
            several processes.
    """
    if group().several:
        raise ValueError("`configs` must be trained in one process, got several processes; train one run in them")
    if not configs or not all(isinstance(config, RunConfig) for config in configs):
        kind, error = ("at least one run", ValueError) if not configs else ("runs, objects of RunConfig", TypeError)
        raise error(f"`configs` must be {kind}, got {configs!r}")
    if len(folders) != len(configs):
        raise ValueError(f"`folders` must be one for each of {len(configs)} runs, got {len(folders)}")
    for i, config in enumerate(configs):
        found = differences(configs[0], config)
        if found:
            raise ValueError(
                f"`configs` must differ in hyperparameters that are real numbers only, got run 0 and run {i} with "
                f"different {', '.join(found)}; `group_runs` groups those that may be trained together"
            )
