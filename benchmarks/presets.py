"""Tune the presets: `python -m benchmarks.presets ppo recall`.

Draws values of hyperparameters at random, trains an agent with each on a few tasks of a family, and writes the best
of them, by its mean return over the tasks and over the run, as a preset of the package, with all trials beside it.
The defaults are the first trial. Then the best and the defaults are trained again with seeds that nothing was chosen
on, and if the defaults are better there, the preset is not written. All trials and seeds of a task are one program.
"""

import argparse
import dataclasses
import functools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from benchmarks._report import write

from memorax import lox
from memorax.experiment import RunConfig, build_agent, default_run
from memorax.experiment.env_options import read_env_options
from memorax.experiment.presets import FOLDER, with_fields


@dataclass(frozen=True)
class Search:
    """What is searched.

    Attributes:
        tasks: Environments, with their options; returns of all of them are on one scale.
        space: Lowest and highest value by hyperparameter, drawn uniformly on a logarithmic scale.
        one_minus: Lowest and highest value of 1 - x, for fields that are close to 1, such as discounts.
        fixed: Fields of the run that differ from its defaults.
        steps: Environment steps of a trial, per task and seed.
        trials: Number of trials, the defaults among them.
        seeds: Seeds of each trial.
        check_seeds: Seeds of the final comparison; as many runs as trials, it needs no program of its own.
        points: Evaluations in a run; the score is their mean.
        episodes: Episodes of an evaluation.
    """

    tasks: Sequence[str]
    space: Mapping[str, tuple[float, float]]
    one_minus: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    steps: int = 262_144
    trials: int = 24
    seeds: int = 2
    check_seeds: int = 24
    points: int = 4
    episodes: int = 32


RECALL = ("memory::RepeatPreviousEasy", "memory::CountRecallEasy", "memory::AutoencodeEasy")
CONTROL = (
    "memory::PositionOnlyCartPoleEasy",
    "memory::VelocityOnlyCartPoleEasy",
    "memory::NoisyPositionOnlyCartPoleEasy",
)
CORRIDORS = ("memory::MemoryChain length=10", "memory::TMazePassive length=10")
RATE = {"learning_rate": (3e-4, 5e-3)}
POLICY = {"entropy_coefficient": (1e-3, 3e-2), "clip_coefficient": (0.1, 0.4)}
LAMBDA, DISCOUNT = {"gae_lambda": (0.02, 0.5)}, {"gamma": (0.002, 0.2)}
ON_POLICY = Search(tasks=RECALL, space=RATE | POLICY, one_minus=DISCOUNT | LAMBDA)
Q_LAMBDA = Search(
    tasks=RECALL, space=RATE | {"epsilon_end": (2e-3, 5e-2)}, one_minus=DISCOUNT | {"td_lambda": (0.05, 0.5)}
)
Q_REPLAY = Search(tasks=RECALL, space=RATE | {"epsilon_end": (2e-3, 5e-2)}, one_minus=DISCOUNT, steps=131_072)
PRIORITY = {"priority_exponent": (0.3, 1.0), "importance_sampling_exponent": (0.2, 1.0)}
TARGETS = {"tau": (2e-3, 0.1), "target_entropy_scale": (0.02, 0.6)}
PRIORITIZED = Search(tasks=RECALL, space=RATE | PRIORITY, one_minus=DISCOUNT, steps=131_072)
SOFT_Q = Search(tasks=RECALL, space=RATE | TARGETS, one_minus=DISCOUNT, steps=65_536)
FAMILIES = {"recall": RECALL, "control": CONTROL, "corridors": CORRIDORS}
BY_ALGORITHM = {
    "ppo": ON_POLICY,
    "gradient_ppo": ON_POLICY,
    "pqn": Q_LAMBDA,
    "dqn": Q_REPLAY,
    "r2d2": PRIORITIZED,
    "sac": SOFT_Q,
}
SEARCHES = {
    (name, family): dataclasses.replace(search, tasks=tasks)
    for name, search in BY_ALGORITHM.items()
    for family, tasks in FAMILIES.items()
}
"""By algorithm and family."""


def base(algorithm: str, search: Search, task: str) -> RunConfig:
    """Give the default run of an algorithm on a task of a search."""
    env, *options = task.split()
    fields = {"env": env, "env_options": read_env_options(options), "steps": search.steps, **search.fixed}
    return with_fields(default_run(algorithm), fields)


def as_preset(config: RunConfig, values: Mapping[str, Any]) -> dict[str, Any]:
    """Sort values into those of the run and those of the algorithm."""
    own = {field.name for field in dataclasses.fields(config)}
    preset: dict[str, Any] = {name: value for name, value in values.items() if name in own}
    return preset | {"hyperparameters": {name: value for name, value in values.items() if name not in own}}


def draw(algorithm: str, search: Search, rng: np.random.Generator) -> list[dict[str, float]]:
    """Draw the trials; the first has the defaults. Values have two digits that count."""
    default = base(algorithm, search, search.tasks[0])
    names = [*search.space, *search.one_minus]
    agent = build_agent(default)
    found = {name: getattr(default if hasattr(default, name) else default.hyperparameters, name) for name in names}
    # What depends on the environment is None in the configuration.
    first = {name: float(getattr(agent, name) if value is None else value) for name, value in found.items()}
    trials = [first]
    for _ in range(search.trials - 1):
        trial = {}
        for name in names:
            low, high = np.log(search.space.get(name) or search.one_minus[name])
            value = float(f"{np.exp(rng.uniform(low, high)):.2g}")
            trial[name] = value if name in search.space else round(1.0 - value, 6)
        trials.append(trial)
    return trials


@functools.cache
def program(algorithm: str, family: str, task: str) -> Any:
    """Make what trains an agent for each row of values and key; it gives the mean return over a run's evaluations."""
    search = SEARCHES[algorithm, family]
    config, names = base(algorithm, search, task), [*search.space, *search.one_minus]

    def run(row: jax.Array, key: jax.Array) -> jax.Array:
        agent = build_agent(with_fields(config, as_preset(config, dict(zip(names, row, strict=True)))))
        steps = config.steps // search.points

        def part(state: Any, _: Any) -> tuple[Any, jax.Array]:
            state = agent.train(key, state, steps)
            logs = lox.spool(agent.evaluate)(jax.random.fold_in(key, 1), state, num_episodes=search.episodes)[1]
            return state, jnp.mean(logs["returned_episode_returns"])

        return jnp.mean(jax.lax.scan(part, agent.init(key), None, length=search.points)[1])

    return jax.jit(jax.vmap(run))


def measure(algorithm: str, family: str, trials: Any, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Score trials: the mean of their returns over tasks and seeds."""
    table = jnp.asarray([list(trial.values()) for trial in trials for _ in seeds], jnp.float32)
    keys, by_task = jax.vmap(jax.random.key)(jnp.tile(jnp.asarray(seeds), len(trials))), {}
    for task in SEARCHES[algorithm, family].tasks:
        start = time.perf_counter()
        found = np.asarray(program(algorithm, family, task)(table, keys)).reshape(len(trials), len(seeds)).round(4)
        by_task[task] = found.tolist()
        print(task, round(time.perf_counter() - start), "s", by_task[task], flush=True)
    rows = [{"values": trial, "returns": {t: r[i] for t, r in by_task.items()}} for i, trial in enumerate(trials)]
    return [row | {"score": round(float(np.mean(list(row["returns"].values()))), 4)} for row in rows]


def toml(algorithm: str, family: str, preset: dict[str, Any]) -> str:
    """Write a preset of numbers."""
    lines = [f"# {algorithm} on {family}; the search is recorded in {algorithm}_{family}.json."]
    lines += [f"{name} = {value!r}" for name, value in preset.items() if name != "hyperparameters"]
    lines += ["", "[hyperparameters]", *(f"{name} = {value!r}" for name, value in preset["hyperparameters"].items())]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Search, compare with the defaults on fresh seeds, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("algorithm", choices=sorted({name for name, _ in SEARCHES}))
    parser.add_argument("family", choices=sorted({name for _, name in SEARCHES}))
    parser.add_argument("--seed", type=int, default=0, help="of the draw, and the first that trials are trained with")
    parser.add_argument("--check-seed", type=int, default=1_000, help="the first of the final comparison")
    options = parser.parse_args()
    algorithm, family = options.algorithm, options.family
    search = SEARCHES[algorithm, family]
    trials = draw(algorithm, search, np.random.default_rng(options.seed))
    seeds = [options.seed + i for i in range(search.seeds)]
    scored = measure(algorithm, family, trials, seeds)
    best = max(scored, key=lambda row: row["score"])["values"]
    fresh = [options.check_seed + i for i in range(search.check_seeds)]
    check = measure(algorithm, family, [trials[0], best], fresh)
    won = check[1]["score"] > check[0]["score"]
    record = {
        "search": dataclasses.asdict(search),
        "seeds": seeds,
        "trials": scored,
        "check": {"seeds": fresh, "default": check[0], "best": check[1], "best_is_better": won},
    }
    write(FOLDER / f"{algorithm}_{family}.json", record)
    if won:
        preset = as_preset(base(algorithm, search, search.tasks[0]), best)
        (FOLDER / f"{algorithm}_{family}.toml").write_text(toml(algorithm, family, preset), encoding="utf-8")


if __name__ == "__main__":
    main()
