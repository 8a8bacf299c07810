"""Ray: a cluster that is there or one for the time of the sweep, and tasks on it that train batches."""

import logging
import os
import signal
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from memorax.experiment.libraries import require
from memorax.experiment.sweep.config import SweepConfig
from memorax.experiment.sweep.engines.processes import compilation_settings

DEATHS = 2
"""How many processes may die of a task or trial before Ray gives up."""


class RayTask:
    """A batch that is trained by a task.

    Args:
        ray: The library.
        reference: Of the task's result.
    """

    def __init__(self, ray: Any, reference: Any) -> None:
        self._ray, self._reference = ray, reference

    def poll(self) -> str | None:
        """None while it trains; then what went wrong, empty where nothing did."""
        ready, _ = self._ray.wait([self._reference], timeout=0)
        if not ready:
            return None
        try:
            stopped = self._ray.get(self._reference)
        except self._ray.exceptions.RayError as error:
            return f"its Ray task failed ({type(error).__name__})"
        return "" if stopped is None else f"it was stopped by signal {stopped}"

    def stop(self) -> None:
        """Ask it to save and to end."""
        self._ray.cancel(self._reference)


class RayTasks:
    """Starts tasks on a Ray cluster, and the cluster if none is named.

    Args:
        folder: Folder of the sweep, which all machines of the cluster must see.
        config: The sweep.
    """

    def __init__(self, folder: Path, config: SweepConfig) -> None:
        load_tune()
        self._ray = ray = require("ray", "ray", "engine ray")
        self._folder = folder.absolute()
        quiet: Any = {"log_to_driver": False, "logging_level": logging.ERROR}
        self._handler = signal.getsignal(signal.SIGTERM)  # Ray puts one of its own in its place
        if config.address is None:
            # For this sweep alone, with room for its workers, and not to be reached from other machines.
            quiet |= {"include_dashboard": False, "num_cpus": config.workers, "_node_ip_address": "127.0.0.1"}
        ray.init(address=config.address or "local", **quiet)
        task = ray.remote(work_on_ray)
        self._task = task.options(num_cpus=1, num_gpus=config.gpus, max_retries=0)

    def start(self, names: Sequence[str]) -> RayTask:
        """Train trials in a task."""
        order = {"folder": str(self._folder), "names": list(names), "jax": compilation_settings()}
        return RayTask(self._ray, self._task.remote(order, os.getcwd()))

    def close(self) -> None:
        """Leave the cluster; one that was started for the sweep ends."""
        self._ray.shutdown()
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._handler)


def load_tune() -> Any:
    """Import Ray Tune.

    Raises:
        ImportError: It is not installed.
    """
    return require("ray.tune", "ray", "engine ray")


def work_on_ray(order: dict[str, Any], place: str) -> int | None:
    """Train a batch in a process of Ray.

    Args:
        order: As `memorax.experiment.sweep.worker.work` takes it.
        place: The working directory of the sweep, where modules of one's own are.

    Returns:
        The signal that stopped the training early.
    """
    from memorax.experiment.sweep.worker import work

    os.chdir(place)
    return work(order)
