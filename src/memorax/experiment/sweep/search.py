"""Running a sweep from its configuration: search, then train the best settings again with fresh seeds."""

import contextlib
import dataclasses
import signal
from pathlib import Path

from rich.console import Console

from memorax.experiment.run.folders import Claim, claim_empty, claim_free, default_folder
from memorax.experiment.run.interrupt import Interruption
from memorax.experiment.sweep.config import (
    SweepConfig,
    check_same_sweep,
    is_sweep,
    load_sweep_config,
    save_sweep_config,
)
from memorax.experiment.sweep.engines import Engine, make_engine
from memorax.experiment.sweep.sweep import Sweep
from memorax.experiment.sweep.trials import FRESH, TRIALS, Trial, best_trials, read_trials

SWEEPS = Path("sweeps")


@dataclasses.dataclass(frozen=True)
class SweepOutcome:
    """How a sweep ended.

    Attributes:
        folder: Its folder.
        trials: Its trials.
        best: The complete ones, from the best to the worst; with several metrics those that none is better than.
        fresh: The best settings, trained with fresh seeds.
        signal: Number of the signal that stopped it early; None if none did.
        complete: Whether all trials are over, those with fresh seeds too.
    """

    folder: Path
    trials: list[Trial]
    best: list[Trial]
    fresh: list[Trial]
    signal: int | None = None
    complete: bool = True


def run_sweep(
    config: SweepConfig,
    folder: str | Path | None = None,
    *,
    resume: bool = False,
    console: Console | None = None,
    return_on_signal: bool = False,
) -> SweepOutcome:
    """Try settings of a run, and train the best of them again with fresh seeds.

    Every trial is an ordinary run in `trials/` of the sweep's folder; beside it is a file that says what was tried and
    what came of it. A trial that fails is recorded and disturbs no other. A sweep that was stopped or killed goes on
    where it was, with all its trials.

    Args:
        config: The sweep.
        folder: Where to save it; empty or not there yet, unless an earlier sweep is resumed. None: a new folder in
            `sweeps`, named after the run.
        resume: Whether to resume the sweep in `folder`, which must be given. How far it goes and where it runs may have
            changed: `trials`, `budget`, `workers`, `batch`, `address`, `gpus`, `slurm` and `best`.
        console: Where to show what comes of the trials; None for standard output.
        return_on_signal: Whether to return after SIGINT or SIGTERM, with the signal in the outcome.

    Returns:
        How it ended.

    Raises:
        ImportError: The library of the engine is not installed.
        KeyboardInterrupt: The sweep was stopped by SIGINT, and saved.
        ValueError: The sweep is refused, or the folder cannot be used.
    """
    claim = _claim(config, None if folder is None else Path(folder), resume)
    interruption = Interruption()
    try:
        sweep = Sweep(claim.folder, config, console or Console(), interruption)
        # Before signals are ours: Ray takes them when it starts.
        with contextlib.closing(make_engine(sweep)) as engine, interruption:
            # Only now, so that a sweep that is refused leaves nothing behind.
            save_sweep_config(claim.folder, config)
            _search(sweep, engine)
    finally:
        claim.release()
        if interruption.signal is not None and not return_on_signal:
            signal.raise_signal(interruption.signal)
    trials, fresh = read_trials(claim.folder, TRIALS), read_trials(claim.folder, FRESH)
    best = best_trials(trials, config.direction)
    again = len(fresh) >= min(config.best, len(best))
    complete = len(trials) >= config.trials and again and all(trial.is_over for trial in (*trials, *fresh))
    return SweepOutcome(claim.folder, trials, best, fresh, None if complete else interruption.signal, complete)


def _search(sweep: Sweep, engine: Engine) -> None:
    """Search, and train the best again."""
    run = sweep.config.run
    over = sum(trial.is_over for trial in sweep.trials())
    so_far = f", {over} of which are over" if over else ""
    sweep.note(
        f"{sweep.config.trials} trials of {run.algorithm} with {run.model} on {run.task()}{so_far} -> {sweep.folder}"
    )
    engine.search()
    if sweep.should_stop():
        return
    fresh = sweep.add_fresh()
    if fresh:
        seeds = sweep.config.fresh_run().seed_numbers()
        sweep.note(f"training the best {len(fresh)} again with fresh seeds {seeds[0]} to {seeds[-1]}")
        engine.train(fresh)


def _claim(config: SweepConfig, folder: Path | None, resume: bool) -> Claim:
    """Lock the folder of a sweep."""
    if not resume:
        run = config.run
        return claim_free(SWEEPS / default_folder(run).name) if folder is None else claim_empty(folder)
    if folder is None:
        raise ValueError("`folder` must be given to resume a sweep, got None; name the folder of the sweep")
    check_same_sweep(load_sweep_config(folder), config, folder)
    return Claim(folder)


def latest_sweep(folder: Path = SWEEPS) -> Path | None:
    """Find the sweep that was begun last; None where there is none."""
    found = [path for path in folder.glob("*") if is_sweep(path)]
    return max(found, key=lambda path: (path / "sweep.json").stat().st_mtime, default=None)
