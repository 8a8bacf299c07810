"""Small sweeps for tests, and a trainer that only pretends."""

import dataclasses
import json
from pathlib import Path

from rich.console import Console

from memorax.experiment import default_run
from memorax.experiment.run.interrupt import Interruption
from memorax.experiment.run.session import Outcome
from memorax.experiment.sweep import LogUniform, SweepConfig, Uniform
from memorax.experiment.sweep.config import save_sweep_config
from memorax.experiment.sweep.sweep import Sweep

SPACE = {"learning_rate": LogUniform(1e-4, 1e-2), "gamma": Uniform(0.9, 0.999)}


def small_run(**fields):
    run = default_run("ppo")
    sizes = dataclasses.replace(run.hyperparameters, num_envs=4, num_steps=16, num_minibatches=2, update_epochs=1)
    fields = {"model": "mlp", "features": 7, "steps": 2560, "log_every": 128, "seeds": 2} | fields
    return dataclasses.replace(run, hyperparameters=sizes, **fields)


def small_sweep(**fields):
    return SweepConfig(**{"run": small_run(), "space": SPACE, "trials": 5, "best": 2, "fresh_seeds": 3} | fields)


def begin(folder, config, console=None):
    """A sweep in progress."""
    folder.mkdir(parents=True, exist_ok=True)
    save_sweep_config(folder, config)
    return Sweep(folder, config, console or Console(quiet=True), Interruption())


class Running:
    """What a callback sees of a run that pretends to train."""

    def __init__(self, config, folder):
        self.config, self.folder, self.total, self.step, self.rows = config, Path(folder), config.steps, 0, []

    def series(self, metric):
        steps = sorted({row["step"] for row in self.rows})
        return [(s, sum(r[metric] for r in self.rows if r["step"] == s) / self.config.seeds) for s in steps]


def pretend(config, folder, *, callbacks=(), error=None, intervals=4, **how):
    """Write the metrics of a run whose return is its learning rate; a callback may end it."""
    run, stopped_by = Running(config, folder), None
    run.folder.mkdir(parents=True, exist_ok=True)
    for i in range(1, intervals + 1):
        run.step = i * config.steps // intervals
        new = [
            {"step": run.step, "seed": seed, "episode/return": 100 * config.learning_rate + seed, "episode/count": 3}
            for seed in config.seed_numbers()
        ]
        run.rows += new
        stopping = [callback for callback in callbacks if callback.on_interval(run)]
        if stopping:
            stopped_by = stopping[0]
            break
    (run.folder / "metrics.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in run.rows))
    return Outcome(run.folder, run.step, stopped_by=stopped_by, error=error)
