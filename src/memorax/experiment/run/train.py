"""Training a run from its configuration: check everything that can be checked, train, and summarize."""

import contextlib
import dataclasses
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from memorax.core.types import PyTree
from memorax.experiment.build import with_exploration
from memorax.experiment.callbacks import Callback, check_callbacks, stopping_reason
from memorax.experiment.changes import apply_changes, describe_changes
from memorax.experiment.config import RunConfig
from memorax.experiment.config_file import check_same_run, load_config, save_config, to_dict
from memorax.experiment.devices import Devices
from memorax.experiment.loading import find_checkpoint, restore_run
from memorax.experiment.loggers import LOGGERS, Composite, Logger, LoggerError, make_loggers
from memorax.experiment.recipes import build_agent
from memorax.experiment.report.summary import write_summary
from memorax.experiment.run.checkpoint import newest
from memorax.experiment.run.cores import cores_for, split_cores
from memorax.experiment.run.display import Display, make_display
from memorax.experiment.run.engine import Engine
from memorax.experiment.run.episodes import Evaluates, Evaluator
from memorax.experiment.run.files import CHECKPOINTS
from memorax.experiment.run.folders import Claim, claim_empty, claim_free, default_folder, latest_folder
from memorax.experiment.run.fork import begin_with, check_fork
from memorax.experiment.run.hosts import failing_together, group
from memorax.experiment.run.intervals import with_log_interval
from memorax.experiment.run.origin import check_not_lost
from memorax.experiment.run.programs import seed_keys
from memorax.experiment.run.python_environments import in_python
from memorax.experiment.run.recovery import explain_summary
from memorax.experiment.run.session import Outcome, Session
from memorax.experiment.run.spread import SpreadEngine


def train(  # noqa: PLR0913  how to run it, by keyword
    config: RunConfig,
    folder: str | Path | None = None,
    *,
    resume: bool = False,
    changes: Mapping[str, Any] | None = None,
    fork: str | Path | None = None,
    fork_step: int | Literal["last", "best"] = "last",
    loggers: Sequence[str | Logger] = (),
    callbacks: Sequence[Callback] = (),
    devices: int | Literal["all", "cores"] | None = None,
    console: Console | None = None,
    return_on_signal: bool = False,
) -> Outcome:
    """Train, and save configuration, metrics, checkpoints, learning curve and summary in a folder.

    Where `memorax.experiment.connect` has connected several processes, each of them calls this function. The first one
    does what is said here, and the others compute their share.

    A run is the same, bit for bit except for `time/*`, however often it is stopped, killed and resumed. With an
    environment in Python that holds for what is learned and logged until then; the environments begin new episodes.

    SIGINT (Ctrl-C) and SIGTERM end the current logging interval and save a checkpoint; then the signal takes its usual
    effect in the calling program: KeyboardInterrupt for SIGINT, the end of the process for SIGTERM. A second signal
    takes effect at once.

    Args:
        config: The run.
        folder: Where to save it; empty or not there yet, unless an earlier run is resumed. None: a new folder in
            `runs`, named after the run; when resuming, the newest of that name.
        resume: Whether to resume the run in `folder` from its newest checkpoint.
        changes: New values, by field, from where the run is resumed on: real numbers of `config` and of its
            hyperparameters, such as `learning_rate`. Recorded in the `history` of the configuration.
        fork: Folder of a run whose parameters the new one begins with; the environment may be another one, the networks
            may not. Optimizers, schedules and replay buffer begin anew.
        fork_step: Which checkpoint of it: `"last"`, `"best"`, or a step.
        loggers: Where the metrics go besides `metrics.jsonl`: names, as `config.loggers` has them, or objects with the
            methods of `memorax.experiment.loggers.Logger`. Names are saved in the configuration, objects are not.
        callbacks: Objects with the method of `memorax.experiment.Callback`, called after every logging interval.
        devices: How many devices train together, or `"all"`: seeds are split over them first, then the environments of
            each seed. The result is the same up to rounding, and a run may be resumed on another number of them.
            `"cores"`: on a CPU as many of its cores as divide the seeds, if JAX has not computed anything before; one
            on other platforms and in Python's environments. None: one, or all of all processes, where several train
            together.
        console: Where to show the progress; None for standard output.
        return_on_signal: Whether to return after SIGINT or SIGTERM, with the signal in the outcome, so that the caller
            decides what happens.

    Returns:
        How the run ended.

    Raises:
        DivergenceError: A metric or parameter became NaN or infinite. Nothing after the last checkpoint is saved.
        HostEnvironmentError: An environment in Python failed, or its process died. What was learned is saved.
        ImportError: The library of a logger is not installed.
        LostProcessError: Another process of the run has ended.
        KeyboardInterrupt: The run was stopped by SIGINT, and saved.
        OSError: The disk failed or is full, or a logger failed.
        TypeError: No head serves the environment's action space, the environment does not take `env_options`, or it
            runs in Python and there are several devices.
        ValueError: The configuration is refused, the devices do not divide it, or the folder cannot be used.
    """
    if not group().leads:
        from memorax.experiment.run.follow import followed

        return followed(return_on_signal=return_on_signal)
    session = prepare(
        config,
        folder,
        resume=resume,
        changes=changes,
        fork=fork,
        fork_step=fork_step,
        loggers=loggers,
        callbacks=callbacks,
        devices=devices,
    )
    try:
        return finish(session, console)
    finally:  # also after an error, which the caller may catch and go on
        if session.received_signal is not None and not return_on_signal:
            signal.raise_signal(session.received_signal)


@failing_together()
def prepare(  # noqa: PLR0913  how to run it, by keyword
    config: RunConfig,
    folder: str | Path | None = None,
    *,
    resume: bool = False,
    changes: Mapping[str, Any] | None = None,
    fork: str | Path | None = None,
    fork_step: int | str = "last",
    loggers: Sequence[str | Logger] = (),
    callbacks: Sequence[Callback] = (),
    devices: int | Literal["all", "cores"] | None = None,
    maker: "Maker | None" = None,
) -> Session:
    """Check everything that can be checked before training; takes and raises what `train` does.

    A `maker` makes what the run computes with; None: an agent of its own, on these devices.

    Returns:
        The run, ready to be trained by `finish`; its folder belongs to it until it is closed.
    """
    folder, maker = None if folder is None else Path(folder), maker or Maker(devices)
    if devices == "cores":
        split_cores(config.seeds)
    check_callbacks(callbacks)
    names = (*config.loggers, *(name for name in loggers if isinstance(name, str)))
    config = dataclasses.replace(config, loggers=tuple(dict.fromkeys(names)))
    objects = tuple(logger for logger in loggers if not isinstance(logger, str))
    for name in config.loggers:
        LOGGERS.get(name)
    if resume:
        folder = folder or latest_folder(default_folder(config))
        config, agent = _resumed(config, folder, changes or {}, fork, maker)
        # What a run forked is read again only if it was killed before its first checkpoint.
        begun = newest(folder / CHECKPOINTS) is not None
        begin = beginning(dataclasses.replace(config, fork=None) if begun else config, agent)
        engine, evaluator = maker.equip(config, agent, folder)
        claim = Claim(folder)
    else:
        if changes:
            raise ValueError(f"`set` needs `resume`, got {dict(changes)} for a new run; give the options themselves")
        config = dataclasses.replace(config, history=())
        if fork is not None:
            step = int(find_checkpoint(Path(fork), fork_step).name)
            config = dataclasses.replace(config, fork=str(fork), fork_step=step)
        config, agent = maker.build(config)
        begin = beginning(config, agent)
        engine, evaluator = maker.equip(config, agent)
        claim = claim_free(default_folder(config)) if folder is None else claim_empty(folder)
    logger = Composite({})
    try:
        if resume and newest(claim.folder / CHECKPOINTS) is None:
            check_not_lost(claim.folder, config)
        logger = make_loggers(config.loggers, objects, claim.folder, to_dict(config))
        if not resume:
            save_config(claim.folder, config)
        group().announce("join", config=to_dict(config))
        session = Session(config, engine, claim, logger, callbacks, begin, evaluator)
        if resume:  # only now, so that a run that is refused stays as it is
            save_config(claim.folder, config)
    except BaseException:
        with contextlib.suppress(LoggerError):
            logger.close()
        claim.release()
        raise
    return session


def _resumed(
    config: RunConfig, folder: Path, changes: Mapping[str, Any], fork: str | Path | None, maker: "Maker"
) -> tuple[RunConfig, Any]:
    """Check that a run is the one in a folder, and change it from its newest checkpoint on."""
    stored = load_config(folder)
    if fork is not None:
        raise ValueError(f"`fork` must be left out to resume {folder}, got {fork}; it begins a new run")
    own = {name: getattr(stored, name) for name in ("fork", "fork_step", "history")}
    config = dataclasses.replace(config, log_every=config.log_every or stored.log_every, **own)
    config, agent = maker.build(with_exploration(config, stored))
    check_same_run(stored, config, folder)
    latest = newest(folder / CHECKPOINTS)
    changed = apply_changes(config, changes, 0 if latest is None else int(latest.name))
    return (config, agent) if changed == config else maker.build(changed)


class Maker:
    """Makes what a run computes with.

    Args:
        devices: How many devices, as `train` has it.
    """

    def __init__(self, devices: int | Literal["all", "cores"] | None = None) -> None:
        self.devices: int | Literal["all", "cores"] | None = devices

    def build(self, config: RunConfig) -> tuple[RunConfig, Any]:
        """Build the agent, and fill in what follows from it."""
        config = with_exploration(config)
        agent = build_agent(config)
        return with_log_interval(config, agent.steps_per_update), agent

    def equip(self, config: RunConfig, agent: Any, folder: Path | None = None) -> tuple[Engine, Evaluates | None]:
        """Give what trains a run, which may be resumed in a folder, and what evaluates it, on devices that fit it."""
        number = self.devices
        if number == "cores":
            number = 1 if in_python(agent) else cores_for(config.seeds, folder)
        devices = Devices(number, config.seeds, getattr(config.hyperparameters, "num_envs", None))
        devices.check(agent)
        keys = seed_keys(config.seed_numbers())[2]
        evaluator = Evaluator(config, agent, keys, devices) if config.eval_every else None
        kind = SpreadEngine if group().several else Engine
        return kind(agent, config.seed_numbers(), devices), evaluator


def beginning(config: RunConfig, agent: Any) -> Callable[[PyTree], PyTree]:
    """Give what changes the initial state of a new run: it puts in what another run has learned, if it forks one."""
    if config.fork is None:
        return lambda state: state
    source = restore_run(Path(config.fork), config.fork_step or 0)
    check_fork(agent, source, config.seeds)
    return lambda state: begin_with(state, source)


@failing_together()
def finish(session: Session, console: Console | None = None) -> Outcome:
    """Train what was prepared, show the progress, and summarize; raises what `train` does.

    Args:
        session: The run; it is closed.
        console: Where to show the progress; None for standard output.

    Returns:
        How the run ended; SIGINT and SIGTERM have no other effect than this.
    """
    display = make_display(console or Console(), session.total, session.step)
    announce(session, display)
    try:
        outcome = session.run(display)
    finally:
        display.close()
        session.close()
    group().announce("end", folder=str(outcome.folder), step=outcome.step, signal=outcome.signal)
    return conclude(session, outcome, display)


def announce(session: Session, display: Display) -> None:
    """Say what is about to be trained."""
    config = session.config
    seeds = f"{config.seeds} seed{'s' if config.seeds > 1 else ''}"
    display.note(f"{config.algorithm} with {config.model} on {config.task()}, {seeds} -> {session.folder}")
    if config.fork is not None and not session.step:
        display.note(f"beginning with {config.fork} at step {config.fork_step:,}")
    if session.step:
        display.note(f"resuming from step {session.step:,}{describe_changes(config, session.step)}")
    for remark in getattr(session.agent, "remarks", ()):
        display.note(remark)
    for warning in session.warnings:
        display.note(f"warning: {warning}")


def conclude(session: Session, outcome: Outcome, display: Display) -> Outcome:
    """Summarize a run that was closed, unless it was stopped by a signal."""
    config = session.config
    if outcome.signal is not None:
        return outcome
    if outcome.stopped_by is not None and outcome.step < session.total:
        display.note(f"stopped at step {outcome.step:,} of {session.total:,}: {stopping_reason(outcome.stopped_by)}")
    if config.keep_best is not None and not session.series(config.keep_best):
        display.note(f"warning: `{config.keep_best}` had no value, so that no best checkpoint was kept")
    try:
        summary = write_summary(session.folder, config, session.step, session.engine.compile_seconds)
    except OSError as error:
        raise OSError(explain_summary(error, session.folder)) from error
    return dataclasses.replace(outcome, summary=summary)
