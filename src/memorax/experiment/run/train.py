"""Train a run from its configuration: prepare everything that can be checked, train, and sum up."""

import dataclasses
from pathlib import Path
from typing import Any

from rich.console import Console

from memorax.experiment.build import build_agent
from memorax.experiment.config import RunConfig, check_same_run, load_config, save_config
from memorax.experiment.report.summary import write_summary
from memorax.experiment.run.display import make_display
from memorax.experiment.run.folders import Claim, claim_empty, claim_free, default_folder, latest_folder
from memorax.experiment.run.session import Outcome, Session

_LINES = 100
"""About how many log lines a run has where nobody says how many."""


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


def prepare(config: RunConfig, folder: Path | None = None, *, resume: bool = False) -> Session:
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


def finish(session: Session, console: Console | None = None) -> Outcome:
    """Train what was prepared, show how it is going, and sum it up; takes and raises what `train` does."""
    config = session.config
    display = make_display(console or Console(), session.total, session.step)
    display.note(f"{config.algorithm} with {config.model} on {config.task()}, {config.seeds} seeds -> {session.folder}")
    if session.step:
        display.note(f"resuming from step {session.step:,}")
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
