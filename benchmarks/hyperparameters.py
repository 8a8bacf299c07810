"""16 settings of one seed each in one program, against 16 seeds of one setting: `python -m benchmarks.hyperparameters`.

A state without hyperparameters makes a program in which they are constants, as they were before they were data: what it
takes is the baseline, of one seed alone and of 16.
"""

import argparse
import dataclasses
import statistics
import time
from typing import Any

import jax
import jax.numpy as jnp
from benchmarks._report import add_output_option, write

from memorax import lox
from memorax.experiment import build_agent, default_run

MEMBERS = 16
REPEATS = 9
UPDATES = {"ppo": 8, "r2d2": 40}
"""Updates in an interval."""


def median_seconds(*programs: tuple[Any, ...]) -> list[float]:
    """Median times of compiled programs with their arguments, which take turns after one call each to warm up."""
    times: list[list[float]] = [[] for _ in programs]
    for repeat in range(REPEATS + 1):
        for i, (program, *arguments) in enumerate(programs):
            start = time.perf_counter()
            jax.block_until_ready(program(*arguments))
            if repeat:
                times[i].append(time.perf_counter() - start)
    return [statistics.median(own) for own in times]


def measure(algorithm: str) -> dict[str, float]:
    """Measure an algorithm; seconds of an interval, and ratios to the programs with constants."""
    config = dataclasses.replace(default_run(algorithm), features=32)
    agent = build_agent(config)
    steps = UPDATES[algorithm] * agent.steps_per_update
    train = lox.spool(agent.train)
    keys = jax.random.split(jax.random.key(0), MEMBERS)
    state = agent.init(keys[0])
    if config.warmup:
        state = agent.warmup(keys[0], state, config.warmup)

    def own(key: Any, state: Any) -> Any:
        return train(key, state, steps)

    def constant(key: Any, state: Any) -> Any:
        return train(key, dataclasses.replace(state, hyperparameters={}), steps)

    seeds = jax.tree.map(lambda x: jnp.broadcast_to(x, (MEMBERS, *x.shape)), state)
    factors = jnp.linspace(0.5, 1.0, MEMBERS)
    settings = seeds.with_hyperparameters(**{name: x * factors for name, x in seeds.hyperparameters.items()})
    together = jax.jit(jax.vmap(own))
    names = ("alone_constants", "alone", "seeds_constants", "seeds", "settings")
    times = median_seconds(
        (jax.jit(constant), keys[0], state),
        (jax.jit(own), keys[0], state),
        (jax.jit(jax.vmap(constant)), keys, seeds),
        (together, keys, seeds),
        (together, keys, settings),
    )
    found = dict(zip(names, times, strict=True))
    return found | {
        "alone_ratio": found["alone"] / found["alone_constants"],
        "settings_ratio": found["settings"] / found["seeds_constants"],
    }


def main() -> None:
    """Measure all, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_output_option(parser, "hyperparameters")
    out = parser.parse_args().out
    results = {algorithm: measure(algorithm) for algorithm in UPDATES}
    for algorithm, found in results.items():
        print(algorithm, {name: round(value, 3) for name, value in found.items()})
    write(out, {"members": MEMBERS, "hyperparameters": results})


if __name__ == "__main__":
    main()
