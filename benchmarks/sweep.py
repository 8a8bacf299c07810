"""Trials side by side against one process a trial: `python -m benchmarks.sweep [--trials 32] [--steps 65536]`.

The trials have the default job's sizes, two seeds each, and other learning rates and discounts. Side by side they are
one sweep of one worker. Of the others, `--pairs` are measured, each in a process of its own by the same command with
`--batch 1`, and count for all. What counts is the CPU time of all processes, by the operating system. `compiling`
is without a cache of compiled programs, `cached` is the second run with one.
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


def sweep(place: Path, trials: int, steps: int, *, batch: int, cache: Path | None) -> dict[str, float]:
    """Run a sweep; give its seconds by the clock and of the CPU, all its processes together.

    Args:
        place: Its folder.
        trials: How many settings.
        steps: Environment steps of each seed.
        batch: How many trials are trained side by side.
        cache: Folder of compiled programs; None to keep none.
    """
    kept = {
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "0",
    }
    environment = {name: value for name, value in os.environ.items() if name not in kept}
    environment |= {"JAX_ENABLE_COMPILATION_CACHE": "false"} if cache is None else kept
    command = [
        *(sys.executable, "-m", "memorax", "sweep", "ppo"),
        *("--space", "learning_rate=log_uniform:3e-4,3e-3", "gamma=uniform:0.95,0.999"),
        *("--trials", str(trials), "--batch", str(batch), "--best", "0"),
        *("--seeds", "2", "--steps", str(steps), "--out", str(place)),
    ]
    before, start = _cpu(), time.perf_counter()
    subprocess.run(command, env=environment, check=True, capture_output=True)
    wall = time.perf_counter() - start
    trained = [json.loads(path.read_text()) for path in (place / "trials").glob("*.json")]
    if [trial["state"] for trial in trained] != ["complete"] * trials:
        raise RuntimeError(f"not all of the {trials} trials in {place} are complete")
    return {"wall_seconds": wall, "cpu_seconds": _cpu() - before}


def compare(place: Path, arguments: argparse.Namespace, *, cached: bool) -> dict[str, Any]:
    """Compare all trials side by side with as many processes."""
    trials, steps, pairs = arguments.trials, arguments.steps, arguments.pairs
    caches = [place / f"cache-{name}" if cached else None for name in ("together", "apart")]
    if cached:
        sweep(place / "fill-together", trials, steps, batch=trials, cache=caches[0])
        sweep(place / "fill-apart", 1, steps, batch=1, cache=caches[1])
    together = sweep(place / "together", trials, steps, batch=trials, cache=caches[0])
    some = sweep(place / "apart", pairs, steps, batch=1, cache=caches[1])
    apart = {name: seconds * trials / pairs for name, seconds in some.items()}
    ratio = apart["cpu_seconds"] / together["cpu_seconds"]
    return {"side_by_side": together, "one_process_each": apart, "cpu_ratio": ratio}


def _cpu() -> float:
    """CPU seconds of all processes that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=32, help="how many settings")
    parser.add_argument("--steps", type=int, default=32_768, help="environment steps of each seed")
    parser.add_argument("--pairs", type=int, default=4, help="how many of them are measured in a process of their own")
    add_output_option(parser, "sweep")
    arguments = parser.parse_args()
    results: dict[str, Any] = {
        "trials": arguments.trials,
        "steps": arguments.steps,
        "seeds": 2,
        "pairs": arguments.pairs,
    }
    for kind in ("compiling", "cached"):
        with tempfile.TemporaryDirectory() as folder:
            results[kind] = compare(Path(folder), arguments, cached=kind == "cached")
        print(f"{kind}: {json.dumps(results[kind])}", flush=True)
    write(arguments.out, results)


if __name__ == "__main__":
    main()
