"""Metrics for Trackio, a tracker on your own machine: `trackio show --project memorax`."""

import contextlib
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from memorax.experiment.libraries import require
from memorax.experiment.loggers.base import Row
from memorax.experiment.loggers.tracking import PROJECT, run_id, split


class Trackio:
    """Logs to a local database of Trackio: a run for each seed, in one group.

    Args:
        folder: The run's folder.
        config: The run's configuration.

    Raises:
        ImportError: trackio is not installed.
    """

    def __init__(self, folder: Path, config: dict[str, Any]) -> None:
        self.folder, self.config = folder, config
        self._library = require("trackio", "trackio", "logger `trackio`")
        self._runs: dict[int, Any] = {}
        self._project = os.environ.get("TRACKIO_PROJECT", PROJECT)
        self._group = ""

    def start(self, rows: Sequence[Row]) -> None:
        """Replace the runs by these rows."""
        name = f"{self.folder.resolve().name}-{run_id(self.folder / 'trackio' / 'run-id', rows)}"
        self._group = name
        with contextlib.suppress(ValueError):  # there is no such project yet
            for run in self._library.Api().runs(self._project):
                if run.name.startswith(f"{name}-seed-"):
                    run.delete()
        self.write(rows)

    def write(self, rows: Sequence[Row]) -> None:
        """Log the metrics of each seed at its step."""
        for row in rows:
            seed, step, metrics = split(row)
            self._run(seed).log(metrics, step=step)

    def sync(self) -> None:
        """Do nothing: what is lost is given to `start` again."""

    def close(self) -> None:
        """Finish the runs, and wait until the database has everything."""
        with contextlib.redirect_stdout(io.StringIO()):
            for run in self._runs.values():
                run.finish()

    def _run(self, seed: int) -> Any:
        if seed not in self._runs:
            with contextlib.redirect_stdout(io.StringIO()):
                self._runs[seed] = self._library.init(
                    project=self._project,
                    name=f"{self._group}-seed-{seed}",
                    group=self._group,
                    config={**self.config, "seed": seed},
                    embed=False,
                    auto_log_gpu=False,
                    auto_log_cpu=False,
                )
            self._library.context_vars.current_run.set(None)  # or the next one would finish it
        return self._runs[seed]
