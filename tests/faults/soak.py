"""Every memory model with every algorithm, trained for some updates: nothing raises, nothing becomes NaN."""

import io
import math
import shutil
import time
from pathlib import Path

import jax
import pytest
from rich.console import Console
from tests.cli.test_every_algorithm import SIZES
from tests.faults.tally import LOST, SURVIVED, Tally

from memorax.algorithms import ALGORITHMS
from memorax.cli.train import train_options
from memorax.experiment import train
from memorax.experiment.loggers import read_rows
from memorax.experiment.report import summary
from memorax.experiment.run.files import write_text
from memorax.networks.sequence_models import MODELS

SHORT = ["--features=4", "--seeds=1", "--steps=1280", "--log-every=640"]
QUIET = Console(file=io.StringIO())


def run(
    base: Path, *, algorithms: list[str] | None = None, models: list[str] | None = None, until: float
) -> list[Tally]:
    """Train pairs.

    Args:
        base: Where the runs are made.
        algorithms: Their names; all if None.
        models: Their names; all if None.
        until: When to stop, by `time.monotonic`; what was not reached is not counted.
    """
    tally = Tally("memory models trained by algorithms for 1,280 steps, without an exception or a NaN")
    pairs = [(algorithm, model) for model in models or MODELS.names() for algorithm in algorithms or ALGORITHMS.names()]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(summary, "plot_runs", lambda folders, out: write_text(out, "a picture"))
        for algorithm, model in pairs:
            if time.monotonic() > until:
                print(f"stopped before {algorithm} with {model}, of {len(pairs)} pairs", flush=True)
                break
            tally.add(*_train(base / "run", algorithm, model))
            jax.clear_caches()
    return [tally]


def _train(folder: Path, algorithm: str, model: str) -> tuple[str, str]:
    shutil.rmtree(folder, ignore_errors=True)
    where = f"{algorithm} with {model}"
    try:
        config, _, _ = train_options([algorithm, f"--model={model}", *SIZES[algorithm], *SHORT])
        train(config, folder, console=QUIET)
    except Exception as error:
        return LOST, f"{where}: {type(error).__name__}: {str(error)[:300]}"
    rows = read_rows(folder / "metrics.jsonl")
    if rows[-1]["step"] != config.steps or not all(math.isfinite(value) for row in rows for value in row.values()):
        return LOST, f"{where}: last row {rows[-1]}"
    return SURVIVED, ""
