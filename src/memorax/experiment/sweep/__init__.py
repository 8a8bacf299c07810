"""Sweeps: many settings of a run, tried side by side, by processes, Ray, Optuna or SLURM."""

from memorax.experiment.space import Choice, LogUniform, Uniform
from memorax.experiment.sweep.config import SweepConfig, load_sweep_config
from memorax.experiment.sweep.report import write_sweep_report
from memorax.experiment.sweep.search import SweepOutcome, run_sweep
from memorax.experiment.sweep.trials import Trial, best_trials, read_trials

__all__ = [
    "Choice",
    "LogUniform",
    "SweepConfig",
    "SweepOutcome",
    "Trial",
    "Uniform",
    "best_trials",
    "load_sweep_config",
    "read_trials",
    "run_sweep",
    "write_sweep_report",
]
