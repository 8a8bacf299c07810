"""What logging and evaluation cost a run: `python -m benchmarks.live [--against REVISION] [--only NAME ...]`.

Each variant trains the same run in a process of its own, by turns: plain, with TensorBoard, and with an evaluation in
every interval; with `--against`, plain with the sources of another revision, too. An interval is timed from one
progress report to the next, by the clock and by the CPU time of the process, which tells more on a machine that is
shared; a process gives the median of its intervals, and ratios are medians over the rounds, to the plain run of the
same round. `load` is how many processes wanted a CPU at the end. All of it takes about five minutes.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks._report import add_output_option, write

INTERVALS = 60
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "tensorboard": {"loggers": ("tensorboard",)},
    "evaluation": {"eval_every": 2048, "eval_episodes": 16},
}


def train(fields: dict[str, Any]) -> dict[str, float]:
    """Train a run in this process; give the median seconds of an interval, by the clock and of the CPU."""
    import dataclasses  # noqa: PLC0415 - of the worker

    from memorax.experiment import default_run  # noqa: PLC0415 - of whichever revision
    from memorax.experiment.run.display import Quiet  # noqa: PLC0415
    from memorax.experiment.run.train import prepare  # noqa: PLC0415

    class Watch(Quiet):
        """Notes the time of every report."""

        def __init__(self) -> None:
            self.times: list[tuple[float, float]] = []

        def show(self, step: int, rows: list[Any]) -> None:
            """Note the time."""
            self.times.append((time.perf_counter(), time.process_time()))

    config = dataclasses.replace(default_run("ppo"), steps=2048 * INTERVALS, log_every=2048, seeds=2, **fields)
    watch = Watch()
    with tempfile.TemporaryDirectory() as folder:
        session = prepare(config, Path(folder) / "run")
        try:
            session.run(watch)
        finally:
            session.close()
    wall, cpu = np.median(np.diff(np.array(watch.times[2:]), axis=0), axis=0)
    return {"wall": float(wall), "cpu": float(cpu)}


def start(fields: dict[str, Any], sources: str | None) -> dict[str, float]:
    """Train in another process, with the sources of another revision if given."""
    paths = os.pathsep.join(filter(None, [sources, os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PYTHONPATH": paths}
    command = [sys.executable, "-m", "benchmarks.live", "--worker", json.dumps(fields)]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return json.loads(result.stdout.splitlines()[-1])


def measure(rounds: int, against: str | None, only: list[str], place: Path) -> dict[str, Any]:
    """Run all variants in turn; the sources of another revision are put into a folder."""
    if against is not None:
        archive = subprocess.run(["git", "archive", against, "src"], check=True, capture_output=True).stdout
        subprocess.run(["tar", "-x", "-C", str(place)], check=True, input=archive)
    variants: dict[str, tuple[dict[str, Any], str | None]] = {
        name: (fields, None) for name, fields in VARIANTS.items() if name == "plain" or name in only
    }
    if importlib.util.find_spec("tensorboardX") is None:
        variants.pop("tensorboard", None)
    if against is not None:
        variants[f"revision {against}"] = ({}, str(place / "src"))
    seconds: dict[str, list[dict[str, float]]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, (fields, sources) in variants.items():
            seconds[name].append(start(fields, sources))
            print(f"{name}: {seconds[name][-1]}", flush=True)
    results = {}
    for name, found in seconds.items():
        results[name] = {
            clock: float(np.median([a[clock] / b[clock] for a, b in zip(found, seconds["plain"], strict=True)]))
            for clock in ("wall", "cpu")
        } | {"milliseconds": 1e3 * float(np.median([one["wall"] for one in found]))}
        print(f"{name}: {results[name]}", flush=True)
    return {"rounds": rounds, "load": os.getloadavg()[0], "ratio_to_plain": results}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", help="another revision, a commit of git")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", nargs="*", default=list(VARIANTS), help="variants to compare with the plain run")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    add_output_option(parser, "live")
    options = parser.parse_args()
    if options.worker is not None:
        fields = json.loads(options.worker)
        print(json.dumps(train(fields | ({"loggers": tuple(fields["loggers"])} if "loggers" in fields else {}))))
        return
    with tempfile.TemporaryDirectory() as folder:
        write(options.out, measure(options.rounds, options.against, options.only, Path(folder)))


if __name__ == "__main__":
    main()
