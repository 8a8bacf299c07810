"""SLURM: jobs that submitit submits, each of which trains a batch."""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from memorax.experiment.libraries import require
from memorax.experiment.run.files import read_json, write_json
from memorax.experiment.sweep.config import SweepConfig
from memorax.experiment.sweep.engines.processes import compilation_settings

_FOLDER, _JOBS = "slurm", "jobs.json"


class Work:
    """What a job does; it is requeued by submitit when it is preempted or its time is over.

    Args:
        order: As `memorax.experiment.sweep.worker.work` takes it.
        place: Working directory of the sweep.
    """

    def __init__(self, order: dict[str, Any], place: str) -> None:
        self.order, self.place = order, place

    def __call__(self) -> int | None:
        """Train; gives the signal that stopped it early."""
        from memorax.experiment.sweep.worker import work

        os.chdir(self.place)
        return work(self.order)

    def checkpoint(self) -> Any:
        """What the requeued job does: it goes on from the checkpoints of the runs."""
        import submitit  # pyright: ignore[reportMissingImports] (an extra)

        return submitit.helpers.DelayedSubmission(self)


class SlurmJob:
    """A batch that is trained by a job.

    Args:
        job: The job of submitit.
    """

    def __init__(self, job: Any) -> None:
        self._job = job

    def poll(self) -> str | None:
        """None while it waits or trains; then what went wrong, empty where nothing did."""
        if not self._job.done():
            return None
        problem = self._job.exception()
        if problem is not None:
            return f"job {self._job.job_id} failed, see {self._job.paths.stderr}"
        stopped = self._job.result()
        return "" if stopped is None else f"job {self._job.job_id} was stopped by signal {stopped}"

    def stop(self) -> None:
        """Cancel it; SLURM sends SIGTERM first, on which it saves."""
        self._job.cancel()


class SlurmJobs:
    """Submits jobs, and finds those again that a sweep submitted before it was killed.

    Args:
        folder: Folder of the sweep, which all machines of the cluster must see.
        config: The sweep.

    Raises:
        ImportError: submitit is not installed.
        ValueError: There is no SLURM here, or it does not take the parameters.
    """

    def __init__(self, folder: Path, config: SweepConfig) -> None:
        submitit = require("submitit", "slurm", "engine slurm")
        self._folder = folder.absolute()
        parameters = dict(config.slurm)
        cluster = parameters.pop("cluster", "slurm")
        if config.gpus:
            parameters["gpus_per_node"] = int(config.gpus)
        try:
            self._executor = submitit.AutoExecutor(folder=self._folder / _FOLDER / "%j", cluster=cluster)
            self._executor.update_parameters(name=f"memorax-{folder.name}", **parameters)
        except (AssertionError, NameError, RuntimeError, TypeError, ValueError) as error:
            raise ValueError(
                f"`slurm` must be parameters that submitit takes on this machine, got {config.slurm} ({error})"
            ) from error
        self._class = {"slurm": submitit.SlurmJob, "local": submitit.LocalJob}.get(cluster)
        self._jobs: dict[str, list[str]] = {}
        with contextlib.suppress(FileNotFoundError):
            self._jobs = read_json(self._folder / _FOLDER / _JOBS)

    def start(self, names: Sequence[str]) -> SlurmJob:
        """Train trials in a job; in one that was submitted for them before, if it is still there."""
        job = self._found(list(names)) or self._submit(list(names))
        return SlurmJob(job)

    def close(self) -> None:
        """Do nothing: jobs end by themselves."""

    def _submit(self, names: list[str]) -> Any:
        order = {"folder": str(self._folder), "names": names, "jax": compilation_settings()}
        job = self._executor.submit(Work(order, os.getcwd()))
        self._jobs[job.job_id] = names
        write_json(self._folder / _FOLDER / _JOBS, self._jobs)
        return job

    def _found(self, names: list[str]) -> Any:
        """A job that trains all of these, and was not known to be over when the sweep was killed."""
        for number, trained in list(self._jobs.items()):
            if self._class is not None and set(names) <= set(trained):
                job = self._class(self._executor.folder, number)
                if not job.done():
                    return job
        return None
