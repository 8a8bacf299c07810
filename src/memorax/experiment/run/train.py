"""Training a run from its configuration: check everything that can be checked, train, and summarize."""

import contextlib
import dataclasses
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from memorax.experiment.config import RunConfig
from memorax.experiment.config_file import check_same_run, load_config, save_config, to_dict
from memorax.experiment.loggers import LOGGERS, Composite, Logger, LoggerError, make_loggers
from memorax.experiment.recipes import build_agent
from memorax.experiment.report.summary import write_summary
from memorax.experiment.run.checkpoint import newest
from memorax.experiment.run.display import make_display
from memorax.experiment.run.files import CHECKPOINTS
from memorax.experiment.run.folders import Claim, claim_empty, claim_free, default_folder, latest_folder
from memorax.experiment.run.origin import check_not_lost
from memorax.experiment.run.recovery import explain_summary
from memorax.experiment.run.session import Outcome, Session

_INTERVALS = 100
"""About how many logging intervals a run has by default."""
_TRIED = 10_000
"""How far from that number of updates a logging interval is looked for that divides the run."""


def train(
    config: RunConfig,
    folder: str | Path | None = None,
    *,
    resume: bool = False,
    loggers: Sequence[str | Logger] = (),
    console: Console | None = None,
    return_on_signal: bool = False,
) -> Outcome:
    """Train, and save configuration, metrics, checkpoints, learning curve and summary in a folder.

    A run is the same, bit for bit except for `time/*`, however often it is stopped, killed and resumed.

    SIGINT (Ctrl-C) and SIGTERM end the current logging interval and save a checkpoint; then the signal takes its usual
    effect in the calling program: KeyboardInterrupt for SIGINT, the end of the process for SIGTERM. A second signal
    takes effect at once.

    Args:
        config: The run.
        folder: Where to save it; empty or not there yet, unless an earlier run is resumed. None: a new folder in
            `runs`, named after the run; when resuming, the newest of that name.
        resume: Whether to resume the run in `folder` from its newest checkpoint.
        loggers: Where the metrics go besides `metrics.jsonl`: names, as `config.loggers` has them, or objects with the
            methods of `memorax.experiment.loggers.Logger`. Names are saved in the configuration, objects are not.
        console: Where to show the progress; None for standard output.
        return_on_signal: Whether to return after SIGINT or SIGTERM, with the signal in the outcome, so that the caller
            decides what happens.

    Returns:
        How the run ended.

    Raises:
        DivergenceError: A metric or parameter became NaN or infinite. Nothing after the last checkpoint is saved.
        ImportError: The library of a logger is not installed.
        KeyboardInterrupt: The run was stopped by SIGINT, and saved.
        OSError: The disk failed or is full, or a logger failed.
        TypeError: No head serves the environment's action space, or the environment does not take `env_options`.
        ValueError: The configuration is refused, or the folder cannot be used.
    """
    session = prepare(config, folder, resume=resume, loggers=loggers)
    try:
        return finish(session, console)
    finally:  # also after an error, which the caller may catch and go on
        if session.received_signal is not None and not return_on_signal:
            signal.raise_signal(session.received_signal)


def prepare(
    config: RunConfig,
    folder: str | Path | None = None,
    *,
    resume: bool = False,
    loggers: Sequence[str | Logger] = (),
) -> Session:
    """Check everything that can be checked before training; takes and raises what `train` does.

    Returns:
        The run, ready to be trained by `finish`; its folder belongs to it until it is closed.
    """
    folder = None if folder is None else Path(folder)
    stored = config
    names = (*config.loggers, *(name for name in loggers if isinstance(name, str)))
    config = dataclasses.replace(config, loggers=tuple(dict.fromkeys(names)))
    objects = tuple(logger for logger in loggers if not isinstance(logger, str))
    for name in config.loggers:
        LOGGERS.get(name)
    if resume:
        folder = folder or latest_folder(default_folder(config))
        stored = load_config(folder)
        config, agent = _build(dataclasses.replace(config, log_every=config.log_every or stored.log_every))
        check_same_run(stored, config, folder)
        claim = Claim(folder)
    else:
        config, agent = _build(config)
        claim = claim_free(default_folder(config)) if folder is None else claim_empty(folder)
    logger = Composite({})
    try:
        if resume and newest(claim.folder / CHECKPOINTS) is None:
            check_not_lost(claim.folder, stored)
        logger = make_loggers(config.loggers, objects, claim.folder, to_dict(config))
        if not resume:
            save_config(claim.folder, config)
        session = Session(config, agent, claim, logger)
        if resume:  # only now, so that a run that is refused stays as it is
            save_config(claim.folder, config)
    except BaseException:
        with contextlib.suppress(LoggerError):
            logger.close()
        claim.release()
        raise
    return session


def finish(session: Session, console: Console | None = None) -> Outcome:
    """Train what was prepared, show the progress, and summarize; raises what `train` does.

    Args:
        session: The run; it is closed.
        console: Where to show the progress; None for standard output.

    Returns:
        How the run ended; SIGINT and SIGTERM have no other effect than this.
    """
    config = session.config
    display = make_display(console or Console(), session.total, session.step)
    seeds = f"{config.seeds} seed{'s' if config.seeds > 1 else ''}"
    display.note(f"{config.algorithm} with {config.model} on {config.task()}, {seeds} -> {session.folder}")
    if session.step:
        display.note(f"resuming from step {session.step:,}")
    for warning in session.warnings:
        display.note(f"warning: {warning}")
    try:
        outcome = session.run(display)
    finally:
        display.close()
        session.close()
    if outcome.signal is not None:
        return outcome
    try:
        summary = write_summary(session.folder, config, session.step, session.compile_seconds)
    except OSError as error:
        raise OSError(explain_summary(error, session.folder)) from error
    return dataclasses.replace(outcome, summary=summary)


def _build(config: RunConfig) -> tuple[RunConfig, Any]:
    """Build the agent, and fill in what follows from it."""
    agent = build_agent(config)
    return with_log_interval(config, agent.steps_per_update), agent


def with_log_interval(config: RunConfig, update: int) -> RunConfig:
    """Fill in the length of a logging interval, in whole updates; prefer one that divides the run without a rest.

    Args:
        config: The run.
        update: Environment steps of an update.

    Raises:
        ValueError: The run is shorter than an update.
    """
    updates = config.steps // update
    if updates < 1:
        raise ValueError(f"`steps` must be at least one update ({update:,}), got {config.steps:,}")
    if config.log_every is None:
        wanted = max(1, updates // _INTERVALS)
        lengths = range(max(1, wanted // 2, wanted - _TRIED), min(2 * wanted, wanted + _TRIED) + 1)
        # What is left over at the end needs a program of its own, and should be long enough to say something.
        length = min(lengths, key=lambda n: (-updates % n, abs(n - wanted)))
    else:
        length = max(1, config.log_every // update)
    return dataclasses.replace(config, log_every=length * update)
