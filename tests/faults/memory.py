"""A run of a thousand intervals takes no more memory at its end than after a tenth of it."""

import gc
import io
import os
from pathlib import Path

import jax
import pytest
from rich.console import Console
from tests.cli.test_every_algorithm import SIZES
from tests.faults.tally import LOST, SURVIVED, Tally

from memorax.cli.train import train_options
from memorax.experiment import train
from memorax.experiment.report import summary
from memorax.experiment.run.files import write_text

MEBIBYTE = 2**20
LIMIT = 16.0
"""MiB that may be more: what the allocator keeps, and rows that `metrics.jsonl` has."""


class Watcher:
    """A logger that measures the process at the end of each interval."""

    def __init__(self) -> None:
        self.resident: list[float] = []
        self.arrays: list[int] = []

    def start(self, rows: object) -> None: ...

    def write(self, rows: object) -> None:
        """Measure."""
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        self.resident.append(pages * os.sysconf("SC_PAGE_SIZE") / MEBIBYTE)
        self.arrays.append(len(jax.live_arrays()))

    def sync(self) -> None: ...

    def close(self) -> None: ...


def run(base: Path, *, intervals: int = 1000) -> list[Tally]:
    """Train for many intervals, with a checkpoint after every tenth.

    Args:
        base: Where the run is made.
        intervals: How many.
    """
    tally = Tally(f"intervals in one process, memory watched over {intervals:,}")
    lengths = [f"--steps={32 * intervals}", "--log-every=32", "--checkpoint-every=320"]
    config, _, _ = train_options(["ppo", *SIZES["ppo"], "--features=4", "--seeds=1", *lengths])
    watcher = Watcher()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(summary, "plot_runs", lambda folders, out: write_text(out, "a picture"))
        train(config, base / "run", loggers=[watcher], console=Console(file=io.StringIO()))
    warm = watcher.resident[intervals // 10]
    limit = LIMIT + warm
    count = max(watcher.arrays[: intervals // 10])
    for number, (resident, arrays) in enumerate(zip(watcher.resident, watcher.arrays, strict=True)):
        good = resident <= limit and arrays <= count
        finding = f"interval {number}: {resident:.0f} MiB after {warm:.0f} MiB, {arrays} arrays after {count}"
        tally.add(SURVIVED if good else LOST, finding)
    print(
        f"memory: {warm:.1f} MiB after a tenth, {watcher.resident[-1]:.1f} MiB at the end, {count} arrays", flush=True
    )
    return [tally]
