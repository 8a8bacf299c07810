"""Whole agents beside those of other libraries at equal work: `python -m benchmarks.agents`.

Each row is one piece of work: networks of the same sizes, the same environments, rollouts, epochs and minibatches. All
contenders of a row are compiled ahead, live in one process and are timed in turns, every other round in reverse; a
ratio is the median over the rounds of the peer's time per step by ours. Memorax runs with `lox.spool`, for the others
return their metrics too. `--purejaxrl`, `--popjaxrl`, `--purejaxql` and `--stoix` name checkouts; what is not there is
left out. With `--add` the rows that were not measured now stay in the file of results.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from benchmarks._agent_rows import ROWS, Peers
from benchmarks._agents_elsewhere import Contender
from benchmarks._report import add_output_option, write
from benchmarks.ppo import matmul_rate


def prepare(contender: Contender) -> dict[str, Any]:
    """Compile a contender and call it once, untimed."""
    start = time.perf_counter()
    lowered = jax.jit(contender.function).lower(contender.state)
    middle = time.perf_counter()
    compiled = lowered.compile()
    end = time.perf_counter()
    state, _ = jax.block_until_ready(compiled(contender.state))
    memory = compiled.memory_analysis()
    result = {
        "library": contender.name,
        "steps": contender.steps,
        "trace_seconds": middle - start,
        "compile_seconds": end - middle,
        "memory_mib": (memory.temp_size_in_bytes + memory.argument_size_in_bytes) / 2**20,
    }
    return {"result": result, "run": compiled, "state": state, "steps": contender.steps, "times": [], "cpu": []}


def flops_per_step(state: Any, epochs: int = 4) -> int:
    """Count the operations of the matrix products of PPO: once to act, and three times as many to learn."""
    return 2 * sum(x.size for x in jax.tree.leaves(state.learner.params) if x.ndim == 3) * (1 + 3 * epochs)


def measure(name: str, contenders: Peers, options: argparse.Namespace) -> dict[str, Any]:
    """Time all contenders of one piece of work in turns."""
    prepared = [prepare(contender) for contender in contenders(options)]
    rates = []
    for turn in range(options.rounds):
        rates.append(matmul_rate())
        for one in prepared[:: -1 if turn % 2 else 1]:
            start, busy = time.perf_counter(), time.process_time()
            one["state"], _ = jax.block_until_ready(one["run"](one["state"]))
            one["times"].append((time.perf_counter() - start) / one["steps"])
            one["cpu"].append((time.process_time() - busy) / one["steps"])
    first, first_cpu = np.asarray(prepared[0]["times"]), np.asarray(prepared[0]["cpu"])
    for one in prepared:
        ratios = np.asarray(one["times"]) / first
        one["result"]["cpu_ratio"] = float(np.median(np.asarray(one["cpu"]) / first_cpu))
        speeds = 1 / np.asarray(one["times"])
        one["result"] |= {"steps_per_second": float(np.median(speeds)), "rounds": [round(float(x)) for x in speeds]}
        one["result"] |= {"ratio": float(np.median(ratios)), "ratios": [round(float(x), 3) for x in ratios]}
    row: dict[str, Any] = {"work": name, "matmul_gflops": float(np.median(rates))}
    if name.startswith("PPO, GRU(128)"):
        gflops = prepared[0]["result"]["steps_per_second"] * flops_per_step(prepared[0]["state"]) / 1e9
        row["share_of_matmul"] = gflops / row["matmul_gflops"]
    return row | {"contenders": [one["result"] for one in prepared]}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("purejaxrl", "popjaxrl", "purejaxql", "stoix"):
        parser.add_argument(f"--{name}", type=Path, help="a checkout of it")
    parser.add_argument("--only", default="", help="rows whose names contain this")
    parser.add_argument("--minutes", type=float, default=60.0, help="begin no further row after so long")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--add", action="store_true", help="keep the rows of the file that are not measured now")
    add_output_option(parser, "agents")
    options = parser.parse_args()
    rows: dict[str, Any] = {}
    if options.add and options.out.exists():
        rows = {row["work"]: row for row in json.loads(options.out.read_text())["results"]}
    start = time.perf_counter()
    for name, contenders in ROWS.items():
        if options.only not in name or time.perf_counter() - start > 60 * options.minutes:
            continue
        rows[name] = measure(name, contenders, options)
        for one in rows[name]["contenders"]:
            print(
                f"{name}: {one['library']} {one['steps_per_second']:,.0f} steps/s, {one['ratio']:.2f} "
                f"(processor time {one['cpu_ratio']:.2f})",
                flush=True,
            )
        write(options.out, {"results": [rows[name] for name in ROWS if name in rows]}, quiet=True)
        jax.clear_caches()


if __name__ == "__main__":
    main()
