"""From the command to the first step: `python -m benchmarks.startup`.

Every algorithm with a GRU, and the default job, is started as a command of its own, `memorax train ...`, with an empty
folder of compiled programs and then again with the filled one: the seconds until its first logging interval, of one
update, is written, until the command ends, and those of compiling. `make train` is the whole default job.
Rows that are in the file of results are kept unless `--again` is given, so that what was interrupted goes on.
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks._report import add_output_option, write

from memorax.algorithms import ALGORITHMS
from memorax.experiment import build_agent
from memorax.experiment.recipes import default_run

WHOLE = "make train"
"""The name of the row of the whole default job."""
_POLL = 0.005


def command(name: str) -> list[str]:
    """Give the options of a job: one update of an algorithm, or the whole default job."""
    if name == WHOLE:
        return []
    update = build_agent(default_run(name)).steps_per_update
    return [name, "--steps", str(update), "--log-every", str(update)]


def start(options: list[str], cache: Path) -> dict[str, float]:
    """Run a job in a process of its own; return seconds until its first step was logged, and until its end."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        metrics = out / "metrics.jsonl"
        environment = {name: value for name, value in os.environ.items() if "CACHE" not in name}
        environment |= {"XDG_CACHE_HOME": str(cache), "JAX_PLATFORMS": "cpu"}
        words = [sys.executable, "-m", "memorax", "train", *options, "--out", str(out)]
        begin = time.perf_counter()
        with subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL) as process:
            try:
                while process.poll() is None and not (metrics.exists() and metrics.stat().st_size):
                    time.sleep(_POLL)
                first = time.perf_counter() - begin
                if process.wait():
                    raise RuntimeError(f"{' '.join(words)} ended with {process.returncode}")
            finally:
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(signal.SIGKILL)
        total = time.perf_counter() - begin
        summary = json.loads((out / "summary.json").read_text())
    return {"first_step": first, "total": total, "compile": summary["compile_seconds"]}


def measure(name: str, warm: int) -> dict[str, Any]:
    """Start a job once without compiled programs, and so many times with them."""
    options = command(name)
    with tempfile.TemporaryDirectory() as cache:
        cold = start(options, Path(cache))
        again = [start(options, Path(cache)) for _ in range(warm)]
    best = min(again, key=lambda one: one["first_step"])
    return {"job": name, "cold": cold, "warm": best, "warm_first_steps": [one["first_step"] for one in again]}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="jobs whose names contain this")
    parser.add_argument("--warm", type=int, default=2, help="warm starts of each job, of which the faster counts")
    parser.add_argument("--again", action="store_true", help="measure what is in the file of results, too")
    add_output_option(parser, "startup")
    options = parser.parse_args()
    rows: dict[str, Any] = {}
    if options.out.exists():
        rows = {row["job"]: row for row in json.loads(options.out.read_text())["results"]}
    names = [WHOLE, *ALGORITHMS]
    for name in names:
        if options.only not in name or (name in rows and not options.again):
            continue
        rows[name] = row = measure(name, options.warm)
        times = (
            f"{kind} {row[kind]['first_step']:.1f} s, to the end {row[kind]['total']:.1f} s"
            for kind in ("cold", "warm")
        )
        print(f"{name}: first step {'; '.join(times)}", flush=True)
        write(options.out, {"results": [rows[name] for name in names if name in rows]}, quiet=True)


if __name__ == "__main__":
    main()
