"""A small suite, and the folders that its runs would leave, for the tests of benchmarks."""

import json

from memorax.experiment.benchmark.suite import Horizons, Suite
from memorax.experiment.config_file import save_config

TASKS = ("memory::MemoryChain length=3", "memory::MemoryChain length=5", "memory::RepeatPreviousEasy")
TINY = {"num_envs": 4, "num_steps": 8, "num_minibatches": 2, "update_epochs": 1}


def suite(**changes):
    fields = {
        "name": "small",
        "title": "A small suite",
        "about": "Nothing.",
        "metric": "mmer",
        "reference": "gru",
        "tasks": TASKS,
        "methods": {"gru": {}, "no memory": {"model": "mlp", "inputs": ["observation"]}},
        "passes": (64, 192),
        "seeds": 3,
        "seed": 5,
        "run": {"features": 6, "log_every": 32},
        "hyperparameters": TINY,
        "published": {TASKS[0]: {"theirs": [0.25, 0.125], "their best": [0.5]}},
        "source": "a paper",
    }
    return Suite(**(fields | changes))


HORIZONS = Horizons(option="length", factors=(1, 4), episodes=8)


def write_cell(folder, wanted, cell, steps, score, *, every=32):
    """What a run leaves that got this far: seed `s` has the return `score + s / 10` in all intervals but the last."""
    folder.mkdir(parents=True, exist_ok=True)
    save_config(folder, wanted.config(cell, steps))
    lines = []
    for step in range(every, steps + 1, every):
        for seed in range(wanted.seed, wanted.seed + wanted.seeds):
            value = score + (seed - wanted.seed) / 10 - (0.5 if step == steps else 0)
            lines.append({"step": step, "seed": seed, "episode/return": value, "episode/count": 2})
            lines[-1]["time/steps_per_second"] = float(step)
            lines[-1]["time/elapsed_seconds"] = step / 100
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "checkpoints" / f"{steps:012d}").mkdir(parents=True, exist_ok=True)
