"""Why does SAC with discrete actions learn, or not? `python -m benchmarks.discrete_sac`.

Trains it on CartPole: with its chosen settings and ten seeds that nothing was chosen on, and with the seeds that they
were chosen on, where one setting at a time is another; then there and on RepeatPreviousEasy, in the settings of
`benchmarks.replay`, with several initial temperatures. Each agent is evaluated with greedy actions at the end.
"""

import argparse
import dataclasses
import functools
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from benchmarks import replay
from benchmarks._report import add_output_option, write

from memorax import lox
from memorax.algorithms import SACConfig
from memorax.experiment import RunConfig, build_agent

CHOSEN: dict[str, Any] = {"target_entropy_scale": 0.5, "tau": 0.02, "learning_rate": 1e-3}
"""What is compared; the rest is in `configure`."""
REWARD_SCALE = 0.05
"""Values are then at most 5, which takes fewer steps of an optimizer to get to than 100."""
VARIANTS: dict[str, dict[str, Any]] = {
    "target entropy 0.98, as in the paper": {"target_entropy_scale": 0.98},
    "target entropy 0.25": {"target_entropy_scale": 0.25},
    "slow targets, tau 0.005": {"tau": 0.005},
    "learning rate 3e-4": {"learning_rate": 3e-4},
}
STEPS, EPISODES = 60_000, 20
TUNING, FRESH = (0, 1), tuple(range(1_000, 1_010))
TEMPERATURES = (1.0, 0.1, 0.05, 0.02)
TEMPERATURE_SEEDS = tuple(range(2_000, 2_008))
"""Seeds of CartPole; those of the other task are of `benchmarks.replay`."""


def configure(values: dict[str, Any], temperature: float | None = None) -> RunConfig:
    """Give a run with some values, and an initial temperature."""
    own = {name: value for name, value in values.items() if name != "learning_rate"}
    return RunConfig(
        algorithm="sac",
        env="gymnax::CartPole-v1",
        model="mlp",
        inputs=("observation",),
        steps=STEPS,
        warmup=1_000,
        features=64,
        learning_rate=values["learning_rate"],
        schedules={"learning_rate": "linear"},
        max_grad_norm=10.0,
        reward_scale=REWARD_SCALE,
        hyperparameters=SACConfig(
            num_envs=8,
            train_frequency=4,
            batch_size=64,
            normalize_observations=True,
            initial_temperature=temperature,
            **own,
        ),
    )


@functools.cache
def program(temperature: float | None = None) -> Any:
    """Make what trains an agent for each row of values and key; it gives the mean return of each at the end."""

    def run(row: jax.Array, key: jax.Array) -> jax.Array:
        config = configure(dict(zip(CHOSEN, row, strict=True)), temperature)
        agent = build_agent(config)
        state = agent.train(key, agent.warmup(key, agent.init(key), config.warmup), config.steps)
        logs = lox.spool(agent.evaluate)(jax.random.fold_in(key, 1), state, num_episodes=EPISODES)[1]
        return jnp.mean(logs["returned_episode_returns"])

    return jax.jit(jax.vmap(run))


def returns(rows: list[tuple[dict[str, Any], int]], temperature: float | None = None) -> list[float]:
    """Train an agent for each row of values and seed; give the mean return of each at the end."""
    table = jnp.asarray([[(CHOSEN | values)[name] for name in CHOSEN] for values, _ in rows], jnp.float32)
    keys, start = jax.vmap(jax.random.key)(jnp.asarray([seed for _, seed in rows])), time.perf_counter()
    found = np.asarray(program(temperature)(table, keys)).round(1).tolist()
    print(found, f"{time.perf_counter() - start:.0f} s", flush=True)
    return found


def remembered(temperature: float) -> list[float]:
    """Train with an initial temperature in a task whose rewards are small; give the return of each seed at the end."""
    config = replay.configure("sac", "gru", "memory::RepeatPreviousEasy")
    own = dataclasses.replace(config.hyperparameters, initial_temperature=temperature)
    found = [curve[-1] for curve in replay.learn(dataclasses.replace(config, hyperparameters=own))[1]]
    print("RepeatPreviousEasy", temperature, found, flush=True)
    return found


def main() -> None:
    """Train all, write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_output_option(parser, "discrete_sac")
    options = parser.parse_args()
    cases = {"chosen": {}} | VARIANTS
    tuned = iter(returns([(values, seed) for values in cases.values() for seed in TUNING]))
    variants = {name: [next(tuned) for _ in TUNING] for name in cases}
    results: dict[str, Any] = {
        "settings": dataclasses.asdict(configure(CHOSEN)),
        "variants": {"seeds": TUNING, "returns": variants},
    }
    write(options.out, results)
    fresh = returns([({}, seed) for seed in FRESH])
    found = {"seeds": FRESH, "returns": fresh, "mean": round(float(np.mean(fresh)), 1), "worst": min(fresh)}
    results["fresh"] = found
    write(options.out, results)
    for temperature in TEMPERATURES:
        poles = returns([({}, seed) for seed in TEMPERATURE_SEEDS], temperature)
        found = {"CartPole": poles, "RepeatPreviousEasy": remembered(temperature)}
        results.setdefault("temperatures", {})[str(temperature)] = found
        write(options.out, results)


if __name__ == "__main__":
    main()
