"""The summary of a run: final numbers, versions, machine, and the learning curve."""

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any

import jax
import numpy as np

import memorax
from memorax.experiment.config import RunConfig
from memorax.experiment.loggers import Row, read_rows
from memorax.experiment.report.plot import plot_runs
from memorax.experiment.report.statistics import summarize
from memorax.experiment.run.files import CURVE_FILE, METRICS_FILE, SUMMARY_FILE, write_json

_FINAL = 0.1
"""Final numbers are averages over the episodes that ended in this last fraction of the run."""
_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def write_summary(folder: Path, config: RunConfig, step: int, compile_seconds: float) -> dict[str, Any]:
    """Write `summary.json` and, if an episode ended, `learning_curve.png` into a run's folder.

    Args:
        folder: The run's folder, with its metrics.
        config: Configuration of the run.
        step: Environment steps that each seed has been trained for.
        compile_seconds: Compilation time in this process; 0 if nothing was left to train.

    Returns:
        The summary.
    """
    rows = read_rows(folder / METRICS_FILE)
    seconds = rows[-1].get("time/elapsed_seconds", 0.0) if rows else 0.0
    summary = {
        "algorithm": config.algorithm,
        "env": config.env,
        "env_options": config.env_options,
        "model": config.model,
        "step": step,
        "seeds": config.seed_numbers(),
        "final": {name: final_numbers(rows, name) for name in ("episode/return", "episode/length")},
        "wall_time_seconds": seconds,
        "compile_seconds": round(compile_seconds, 3) if compile_seconds else None,
        "steps_per_second": round(step * config.seeds / seconds, 1) if seconds else None,
        "versions": versions(),
        "machine": machine(),
    }
    write_json(folder / SUMMARY_FILE, summary)
    if summary["final"]["episode/return"] is not None:
        plot_runs([folder], folder / CURVE_FILE)
    return summary


def final_numbers(rows: list[Row], metric: str) -> dict[str, Any] | None:
    """Average a metric over the last tenth of a run, for each seed and over seeds; `episode/*` over the episodes there.

    Args:
        rows: The run's metrics.
        metric: Its name, `episode/return` for instance.

    Returns:
        `per_seed` by number, and mean and interquartile mean over seeds with their 95 % intervals; None if it has no
        value.
    """
    last = max((row["step"] for row in rows), default=0)
    per_seed: dict[str, float] = {}
    for seed in sorted({row["seed"] for row in rows}):
        found = [row for row in rows if row["seed"] == seed and metric in row]
        late = [row for row in found if row["step"] > (1.0 - _FINAL) * last] or found[-1:]
        if late:
            weights = [max(1, row.get("episode/count", 1)) if metric.startswith("episode/") else 1 for row in late]
            per_seed[str(seed)] = float(np.average([row[metric] for row in late], weights=weights))
    if not per_seed:
        return None
    return {"per_seed": per_seed, **summarize(np.array(list(per_seed.values())))}


def versions() -> dict[str, str]:
    """The versions of Python, of memorax and of the packages its numbers depend on."""
    packages = {name: importlib.metadata.version(name) for name in _PACKAGES}
    return {"python": platform.python_version(), "memorax": memorax.__version__, **packages}


def machine() -> dict[str, Any]:
    """The machine that the run was made on."""
    device = jax.devices()[0]
    return {
        "platform": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cpus": os.cpu_count(),
        "devices": f"{jax.device_count()} x {device.device_kind} ({device.platform})",
    }
