"""What is replay worth with a memory? `python -m benchmarks.replay`, then on an idle machine `... --speed`.

Trains DQN, R2D2 and SAC, and PQN and PPO, which learn on-policy, on the same tasks with the same number of environment
steps: with a GRU, and the three with a replay buffer also without memory, where the networks see the observation only.
All have the settings of `memorax train ALGORITHM` but for the sizes below. What is there already is not computed again.
`--speed` measures training steps per second, by which the second half of the figure is drawn.
"""

import argparse
import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from benchmarks._report import add_output_option, write

from memorax import lox
from memorax.experiment import RunConfig, build_agent, default_run

REPLAYING, ON_POLICY = ("dqn", "r2d2", "sac"), ("pqn", "ppo")
TASKS: dict[str, dict[str, Any]] = {
    "memory::MemoryChain": {"length": 10},
    "memory::TMazePassive": {"length": 10},
    "memory::RepeatPreviousEasy": {},
}
RUNS = [(name, "gru") for name in (*REPLAYING, *ON_POLICY)] + [(name, "mlp") for name in REPLAYING]
SHARED: dict[str, Any] = {"features": 32, "learning_rate": 2e-3, "warmup": 0}
STEPS, POINTS, EPISODES, SEEDS, SEED = 61_440, 12, 64, 3, 200
FIGURE = Path(__file__).parent.parent / "docs" / "results" / "replay.png"


def configure(algorithm: str, model: str, task: str) -> RunConfig:
    """Give the run of an algorithm with a model on a task."""
    inputs = {"inputs": ("observation",)} if model == "mlp" else {}
    options = {"env": task, "env_options": TASKS[task], "model": model, "steps": STEPS}
    return dataclasses.replace(default_run(algorithm), **SHARED, **options, **inputs)


def learn(config: RunConfig) -> tuple[int, list[list[float]]]:
    """Train all seeds, with greedy evaluations on the way; give the steps between, and each seed's returns."""
    agent = build_agent(config)
    update = agent.steps_per_update
    steps = max(1, round(STEPS / POINTS / update)) * update
    keys = jax.vmap(jax.random.key)(SEED + jnp.arange(SEEDS))

    def part(key: jax.Array, state: Any) -> tuple[Any, jax.Array]:
        state = agent.train(key, state, steps)
        logs = lox.spool(agent.evaluate)(jax.random.fold_in(key, 1), state, num_episodes=EPISODES)[1]
        return state, jnp.mean(logs["returned_episode_returns"])

    def whole(key: jax.Array) -> jax.Array:
        return jax.lax.scan(lambda state, _: part(key, state), agent.init(key), None, length=STEPS // steps)[1]

    return steps, np.asarray(jax.jit(jax.vmap(whole))(keys)).round(4).tolist()


def train(algorithm: str, model: str, task: str) -> dict[str, Any]:
    """Train all seeds of an algorithm with a model on a task."""
    start = time.perf_counter()
    steps, curves = learn(configure(algorithm, model, task))
    curve, seconds = np.transpose(curves).tolist(), round(time.perf_counter() - start, 1)
    return {"algorithm": algorithm, "model": model, "task": task, "every": steps, "curve": curve, "seconds": seconds}


def speed(algorithm: str, task: str) -> float:
    """Measure the training steps per second of one seed with a GRU, compilation aside, the median of three calls."""
    agent, key = build_agent(configure(algorithm, "gru", task)), jax.random.key(0)
    state = agent.train(key, agent.init(key), 4_096)  # the replay buffer holds enough to learn from
    steps = 4_096 // agent.steps_per_update * agent.steps_per_update
    program = jax.jit(lambda state: agent.train(key, state, steps)).lower(state).compile()
    times = []
    for _ in range(4):
        start = time.perf_counter()
        state = jax.block_until_ready(program(state))
        times.append(time.perf_counter() - start)
    return round(steps / float(np.median(times[1:])), 1)


def draw(results: list[dict[str, Any]], speeds: dict[str, float], path: Path) -> None:
    """Draw returns over environment steps, and where speeds are known over seconds of training; a column a task."""
    import matplotlib.pyplot as plt  # noqa: PLC0415

    rows = 2 if speeds else 1
    figure, axes = plt.subplots(rows, len(TASKS), figsize=(10, 3.2 * rows), layout="constrained", squeeze=False)
    colors = {name: f"C{i}" for i, name in enumerate((*REPLAYING, *ON_POLICY))}
    for result in results:
        name, column = result["algorithm"], list(TASKS).index(result["task"])
        curve = np.array(result["curve"])
        steps = result["every"] * np.arange(1, len(curve) + 1)
        style = {"color": colors[name], "linestyle": "-" if result["model"] == "gru" else ":"}
        label = f"{name}, {'GRU' if result['model'] == 'gru' else 'no memory'}"
        over = [steps, steps / speeds[f"{name} {result['task']}"]] if speeds and result["model"] == "gru" else [steps]
        for axis, x in zip(axes[:, column], over, strict=False):
            axis.plot(x, curve.mean(axis=1), label=label, **style)
            axis.fill_between(x, curve.min(axis=1), curve.max(axis=1), color=colors[name], alpha=0.1, linewidth=0)
    for column, task in enumerate(TASKS):
        axes[0, column].set(title=task.removeprefix("memory::"), xlabel="environment steps")
        for axis in axes[:, column]:
            axis.spines[["top", "right"]].set_visible(False)
        if speeds:
            axes[1, column].set(xlabel="seconds of training", xscale="log")
    for row in axes:
        row[0].set_ylabel("return")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main() -> None:
    """Train what is missing, or measure speeds; write the results and draw them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speed", action="store_true", help="measure training steps per second instead")
    parser.add_argument("--figure", type=Path, default=FIGURE)
    add_output_option(parser, "replay")
    options = parser.parse_args()
    stored = json.loads(options.out.read_text()) if options.out.exists() else {}
    results, speeds = stored.get("results", []), stored.get("steps_per_second", {})
    settings = {"shared": SHARED, "steps": STEPS, "seeds": [SEED + i for i in range(SEEDS)], "episodes": EPISODES}

    def save() -> None:
        write(options.out, {"settings": settings, "steps_per_second": speeds, "results": results}, quiet=True)

    if options.speed:
        for name in (*REPLAYING, *ON_POLICY):
            speeds |= {f"{name} {task}": speed(name, task) for task in TASKS}
            save()
    else:
        done = {(row["algorithm"], row["model"], row["task"]) for row in results}
        for task in TASKS:
            for run in [(*run, task) for run in RUNS if (*run, task) not in done]:
                results.append(train(*run))
                print(run, results[-1]["seconds"], results[-1]["curve"][-1], flush=True)
                save()
    draw(results, speeds, options.figure)


if __name__ == "__main__":
    main()
