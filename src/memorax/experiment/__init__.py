"""Running experiments: configuration, the run loop, checkpoints, evaluation, statistics and plots.

Names are imported when they are first used, so that reading a configuration does not wait for JAX.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from memorax.experiment.callbacks import Callback, Patience, StopAt, TrainingRun
    from memorax.experiment.config import RunConfig
    from memorax.experiment.config_file import load_config
    from memorax.experiment.evaluation import evaluate
    from memorax.experiment.loading import load
    from memorax.experiment.log_run import log_run
    from memorax.experiment.loggers import LOGGERS, Logger
    from memorax.experiment.optimizers import OPTIMIZERS
    from memorax.experiment.policy import PolicyMemory, TrainedPolicy
    from memorax.experiment.population.config import Population
    from memorax.experiment.population.train import pbt
    from memorax.experiment.presets import preset_names, preset_run
    from memorax.experiment.recipes import Recipe, build_agent, default_run, register_algorithm
    from memorax.experiment.report.comparison import Pair, RunResult, compare_runs, load_results
    from memorax.experiment.report.plot import plot_runs
    from memorax.experiment.report.report import write_report
    from memorax.experiment.report.statistics import (
        bootstrap_interval,
        interquartile_mean,
        performance_profile,
        probability_of_improvement,
    )
    from memorax.experiment.run.grouping import differences, group_runs
    from memorax.experiment.run.hosts import LostProcessError, connect
    from memorax.experiment.run.session import DivergenceError, Outcome
    from memorax.experiment.run.train import train
    from memorax.experiment.run.train_many import train_many

_WHERE = {
    "Callback": "callbacks",
    "DivergenceError": "run.session",
    "LOGGERS": "loggers",
    "Logger": "loggers",
    "LostProcessError": "run.hosts",
    "OPTIMIZERS": "optimizers",
    "Outcome": "run.session",
    "Pair": "report.comparison",
    "Patience": "callbacks",
    "PolicyMemory": "policy",
    "Population": "population.config",
    "Recipe": "recipes",
    "RunConfig": "config",
    "RunResult": "report.comparison",
    "StopAt": "callbacks",
    "TrainedPolicy": "policy",
    "TrainingRun": "callbacks",
    "bootstrap_interval": "report.statistics",
    "build_agent": "recipes",
    "compare_runs": "report.comparison",
    "connect": "run.hosts",
    "default_run": "recipes",
    "differences": "run.grouping",
    "evaluate": "evaluation",
    "group_runs": "run.grouping",
    "interquartile_mean": "report.statistics",
    "load": "loading",
    "load_config": "config_file",
    "load_results": "report.comparison",
    "log_run": "log_run",
    "pbt": "population.train",
    "performance_profile": "report.statistics",
    "plot_runs": "report.plot",
    "preset_names": "presets",
    "preset_run": "presets",
    "probability_of_improvement": "report.statistics",
    "register_algorithm": "recipes",
    "train": "run.train",
    "train_many": "run.train_many",
    "write_report": "report.report",
}

__all__ = [
    "LOGGERS",
    "OPTIMIZERS",
    "Callback",
    "DivergenceError",
    "Logger",
    "LostProcessError",
    "Outcome",
    "Pair",
    "Patience",
    "PolicyMemory",
    "Population",
    "Recipe",
    "RunConfig",
    "RunResult",
    "StopAt",
    "TrainedPolicy",
    "TrainingRun",
    "bootstrap_interval",
    "build_agent",
    "compare_runs",
    "connect",
    "default_run",
    "differences",
    "evaluate",
    "group_runs",
    "interquartile_mean",
    "load",
    "load_config",
    "load_results",
    "log_run",
    "pbt",
    "performance_profile",
    "plot_runs",
    "preset_names",
    "preset_run",
    "probability_of_improvement",
    "register_algorithm",
    "train",
    "train_many",
    "write_report",
]


def __getattr__(name: str) -> Any:
    """Import a public name, or the module `checkpoint` under its former path."""
    if name == "checkpoint":
        return importlib.import_module(f"{__name__}.run.checkpoint")
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)
