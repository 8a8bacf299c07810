"""The process that trains a batch of trials: `python -m memorax.experiment.sweep.worker`, told what to do by a line.

When the other end of its standard input is closed, because the sweep was killed, it saves and ends.
"""

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from memorax.experiment.sweep.training import Prune, train_trials


def work(order: dict[str, Any]) -> int | None:
    """Train a batch of trials.

    Args:
        order: The `folder` of the sweep, the `names` of the trials, and settings of `jax`.

    Returns:
        The signal that stopped the training early.
    """
    apply_settings(order["jax"])
    folder = Path(order["folder"])
    return train_trials(folder, order["names"], _prune(folder))


def apply_settings(settings: dict[str, Any]) -> None:
    """Set JAX up as the sweep has it, which is what `compilation_settings` gave."""
    import jax

    for name, value in settings.items():
        jax.config.update(name, value)


def _prune(folder: Path) -> Prune:
    """How trials are stopped early from within a process: with Optuna's study, which all of them report to."""
    from memorax.experiment.sweep.config import load_sweep_config

    config = load_sweep_config(folder)
    if config.engine != "optuna" or config.scheduler == "none":
        return lambda trial, run: False
    from memorax.experiment.sweep.engines.optuna_study import StudyPruner

    return StudyPruner(folder, config)


def main() -> int:
    """Read the order, train, and give the exit code: 128 and the number of the signal that stopped it, or 0."""
    order = json.loads(sys.stdin.readline())
    threading.Thread(target=_watch, daemon=True).start()
    stopped = work(order)
    return 0 if stopped is None else 128 + stopped


def _watch() -> None:
    """Stop this process, in good order, when the one that started it is gone."""
    while os.read(0, 1024):  # not by `sys.stdin`, whose lock would outlive the interpreter
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
