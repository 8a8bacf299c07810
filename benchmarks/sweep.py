"""Trials side by side against one process a trial: `python -m benchmarks.sweep [--trials 32] [--steps 65536]`.

The trials have the default job's sizes, two seeds each, and other learning rates and discounts. Side by side they are
one sweep of one worker. Of the others, `--pairs` are measured, each in a process of its own by the same command with
`--batch 1`, and count for all: the CPU seconds of a process and its children, as the operating system counts them. Both
keep compiled programs: from nothing at first, and then again with what the first left (`warm`).
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks._report import add_output_option, write


def sweep(place: Path, name: str, trials: int, steps: int, cache: Path, *, batch: int) -> dict[str, float]:
    """Run a sweep; give its seconds by the clock and of the CPU, all its processes together."""
    environment = os.environ | {
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "0",
    }
    command = [
        *(sys.executable, "-m", "memorax", "sweep", "ppo"),
        *("--space", "learning_rate=log_uniform:3e-4,3e-3", "gamma=uniform:0.95,0.999"),
        *("--trials", str(trials), "--batch", str(batch), "--best", "0"),
        *("--seeds", "2", "--steps", str(steps), "--out", str(place / name)),
    ]
    before, start = _cpu(), time.perf_counter()
    subprocess.run(command, env=environment, check=True, capture_output=True)
    wall = time.perf_counter() - start
    trained = [json.loads(path.read_text()) for path in (place / name / "trials").glob("*.json")]
    if [trial["state"] for trial in trained] != ["complete"] * trials:
        raise RuntimeError(f"not all of the {trials} trials in {place / name} are complete")
    return {"wall_seconds": wall, "cpu_seconds": _cpu() - before}


def _cpu() -> float:
    """CPU seconds of all processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=32, help="how many settings")
    parser.add_argument("--steps", type=int, default=65_536, help="environment steps of each seed")
    parser.add_argument("--pairs", type=int, default=4, help="how many of them are measured in a process of their own")
    add_output_option(parser, "sweep")
    arguments = parser.parse_args()
    results: dict[str, Any] = {
        "trials": arguments.trials,
        "steps": arguments.steps,
        "seeds": 2,
        "pairs": arguments.pairs,
    }
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for kind in ("cold", "warm"):
            together = sweep(
                place, f"together-{kind}", arguments.trials, arguments.steps, place / "together", batch=arguments.trials
            )
            apart = sweep(place, f"apart-{kind}", arguments.pairs, arguments.steps, place / "apart", batch=1)
            scale = arguments.trials / arguments.pairs
            all_apart = {name: seconds * scale for name, seconds in apart.items()}
            ratio = all_apart["cpu_seconds"] / together["cpu_seconds"]
            results[kind] = {"side_by_side": together, "one_process_each": all_apart, "cpu_ratio": ratio}
            print(f"{kind}: {together} side by side, {all_apart} one process each, {ratio:.1f} times the CPU time")
    write(arguments.out, results)


if __name__ == "__main__":
    main()
