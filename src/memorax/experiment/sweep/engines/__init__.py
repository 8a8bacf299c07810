"""The engines of sweeps: who draws settings, and where they are trained."""

from typing import Protocol

from memorax.experiment.sweep.dispatch import Dispatcher, Launcher
from memorax.experiment.sweep.sweep import Sweep


class Engine(Protocol):
    """Searches, and trains what is found."""

    def search(self) -> None:
        """Try settings until there are enough; or until the sweep should stop, when everything is saved."""
        ...

    def train(self, names: list[str]) -> None:
        """Train trials that are there, by name."""
        ...

    def close(self) -> None:
        """Stop what was started for the sweep."""
        ...


class RandomSearch:
    """Tries settings drawn at random, in processes of a launcher.

    Args:
        sweep: The sweep.
        launcher: Starts the processes.
    """

    def __init__(self, sweep: Sweep, launcher: Launcher) -> None:
        self.sweep, self.launcher = sweep, launcher

    def search(self) -> None:
        """Draw all settings that are missing, and train what is not over."""
        self.train(self.sweep.add_random())

    def train(self, names: list[str]) -> None:
        """Train trials, those that can be side by side."""
        Dispatcher(self.sweep, self.launcher).run(self.sweep.batches(names))

    def close(self) -> None:
        """Stop what the launcher has started."""
        self.launcher.close()


def make_engine(sweep: Sweep) -> Engine:
    """Make the engine of a sweep.

    Args:
        sweep: The sweep.

    Raises:
        ImportError: Its library is not installed; the message says how to install it.
    """
    engine, scheduler = sweep.config.engine, sweep.config.scheduler
    if engine == "optuna":
        from memorax.experiment.sweep.engines.optuna_study import OptunaSearch
        from memorax.experiment.sweep.engines.processes import Processes

        return OptunaSearch(sweep, Processes(sweep.folder, sweep.config))
    if engine == "ray":
        from memorax.experiment.sweep.engines.ray_cluster import RayTasks
        from memorax.experiment.sweep.engines.ray_tune import TuneSearch

        launcher = RayTasks(sweep.folder, sweep.config)
        return RandomSearch(sweep, launcher) if scheduler == "none" else TuneSearch(sweep, launcher)
    if engine == "slurm":
        from memorax.experiment.sweep.engines.slurm_jobs import SlurmJobs

        return RandomSearch(sweep, SlurmJobs(sweep.folder, sweep.config))
    from memorax.experiment.sweep.engines.processes import Processes

    return RandomSearch(sweep, Processes(sweep.folder, sweep.config))
