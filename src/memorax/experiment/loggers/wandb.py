"""Metrics for Weights & Biases: a run for each seed, in one group."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from memorax.experiment.libraries import require
from memorax.experiment.loggers.base import Row
from memorax.experiment.loggers.tracking import PROJECT, run_id, split


class WeightsAndBiases:
    """Logs to Weights & Biases, online or, with `WANDB_MODE=offline`, into the folder `wandb` of the run.

    A resumed run goes on in the same runs online: they have its rows already, or are given those that they lack; what
    was changed on resuming makes new ones. Offline, the files are written anew; `wandb sync` uploads them.

    Args:
        folder: The run's folder.
        config: The run's configuration.

    Raises:
        ImportError: wandb is not installed.
    """

    def __init__(self, folder: Path, config: dict[str, Any]) -> None:
        self.folder, self.config = folder, config
        self._library = require("wandb", "wandb", "logger `wandb`")
        self._runs: dict[int, Any] = {}
        self._id = ""

    def start(self, rows: Sequence[Row]) -> None:
        """Replace offline files by these rows; online, log those that are missing."""
        for old in self.folder.glob("wandb/offline-run-*"):
            shutil.rmtree(old)
        changes = len(self.config.get("history", ()))
        self._id = run_id(self.folder / "wandb" / "run-id", rows) + (f"-{changes}" if changes else "")
        for i in range(self.config.get("seeds", 0)):
            self._run(self.config["seed"] + i)
        self.write(rows)

    def write(self, rows: Sequence[Row]) -> None:
        """Log the metrics of each seed at its step."""
        for row in rows:
            seed, step, metrics = split(row)
            run = self._run(seed)
            if step >= run.starting_step:  # what a resumed run has already, it does not take again
                run.log(metrics, step=step)

    def sync(self) -> None:
        """Do nothing: what is lost is given to `start` again."""

    def close(self) -> None:
        """Finish the runs, and wait until everything is uploaded; offline, W&B writes the rest in its own process."""
        for run in self._runs.values():
            run.finish()

    def _run(self, seed: int) -> Any:
        if seed not in self._runs:
            name = self.folder.resolve().name
            options = {
                "project": os.environ.get("WANDB_PROJECT", PROJECT),
                "group": f"{name}-{self._id}",
                "name": f"{name}-seed-{seed}",
                "id": f"{self._id}-{seed}",
                "resume": "allow",
                "reinit": "create_new",
                "dir": str(self.folder),
                "config": {**self.config, "seed": seed},
                "settings": self._library.Settings(silent=True, console="off"),
            }
            try:
                self._runs[seed] = self._library.init(**options)
            except self._library.UsageError as error:  # nobody is logged in
                raise RuntimeError(f"{error} Or set WANDB_MODE=offline: `wandb sync` uploads it later.") from error
        return self._runs[seed]
