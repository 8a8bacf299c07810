"""A population that finds its learning rate while it trains: the worst copy the best, and change what they copied.

python examples/hyperparameter_population.py
"""

import dataclasses
import tempfile

import numpy as np

import memorax
from memorax.experiment import Population, load_config
from memorax.experiment.sweep import LogUniform, Uniform


def main(steps: int = 250_000, members: int = 8) -> list[float]:
    """Train a population; give the mean return of each member over the last tenth of its run."""
    default = memorax.default_run("ppo")
    sizes = dataclasses.replace(default.hyperparameters, num_envs=16, num_steps=64)
    run = dataclasses.replace(default, steps=steps, seeds=members, features=32, hyperparameters=sizes)
    # All begin with a learning rate that is far too low, and without a bonus for entropy.
    run = dataclasses.replace(run, env="memory::RepeatPreviousEasy", learning_rate=1e-5)
    population = Population(
        space={"learning_rate": LogUniform(1e-5, 1e-2), "entropy_coefficient": Uniform(0.0, 0.05)},
        draw=False,
        every=steps // 25,
    )

    folder = tempfile.mkdtemp()
    outcomes = memorax.pbt(run, population, f"{folder}/population")

    returns = []
    for outcome in outcomes:
        config, final = load_config(outcome.folder), outcome.summary["final"]["episode/return"]
        copied = " ".join(str(change["copied"]) for change in config.history) or "nobody"
        values = f"learning rate {config.learning_rate:.1e}  entropy {config.hyperparameters.entropy_coefficient:.4f}"
        print(f"{outcome.folder.name}  mean return {final['mean']:+.2f}  {values}  copied {copied}")
        returns.append(final["mean"])
    print(f"hyperparameters over time: {folder}/population/population.png")
    return returns


if __name__ == "__main__":
    print(f"best: {np.max(main()):+.2f}")
