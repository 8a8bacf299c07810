"""How far does each model remember? `python -m benchmarks.memory_length`.

Trains PPO with several memory models on the passive T-maze, whose corridor says how long a sign must be remembered, and
draws the share of episodes that end at the right arm against the length of the corridor. Rollouts are as long as the
corridor, so that what is compared is the memory and not how far gradients reach.
"""

import argparse
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from benchmarks._report import add_output_option, write

from memorax import lox
from memorax.algorithms import PPO, PPOConfig
from memorax.environments import make
from memorax.networks import MLP, FeatureExtractor, Network, heads
from memorax.networks.sequence_models import MODELS

NAMES = ("gru", "lru", "mamba2", "attention", "gated_deltanet", "mlp")
LENGTHS = (10, 30, 100, 300)
OPTIONS: dict[str, dict[str, Any]] = {"attention": {"context_length": 128}}
"""What differs from a model's own defaults."""
FIGURE = Path(__file__).parent.parent / "docs" / "memory_length.png"


def build(name: str, length: int, features: int) -> PPO:
    """Build PPO on one trunk with a memory model, for a corridor."""
    env, env_params = make("memory::TMazePassive", length=length)
    trunk = FeatureExtractor(MLP((features,))), MODELS.get(name)(features, **OPTIONS.get(name, {}))
    actor = Network(*trunk, heads.Categorical(env.action_space(env_params).n))
    critic = Network(*trunk, heads.VNetwork())
    steps = 1 << (length + 1).bit_length()
    envs = max(8, min(64, 4096 // steps))
    config = PPOConfig(num_envs=envs, num_steps=steps, num_minibatches=4, entropy_coefficient=0.01)
    optimizer = optax.chain(optax.clip_by_global_norm(0.5), optax.adam(1e-3, eps=1e-5))
    return PPO(config, env, env_params, actor, critic, optimizer, optimizer)


def success(name: str, length: int, *, features: int, steps: int, seeds: int) -> list[float]:
    """Train, then play; return the share of episodes that end at the right arm, for each seed."""
    agent = build(name, length, features)
    keys = jax.random.split(jax.random.key(0), seeds)
    states = jax.vmap(agent.init)(keys)
    states = jax.vmap(agent.train, in_axes=(0, 0, None))(keys, states, steps)
    play = jax.vmap(lambda key, state: lox.spool(agent.evaluate)(key, state, num_episodes=64)[1])
    returns = np.asarray(play(keys, states)["returned_episode_returns"])
    # Straight to the right arm is 1, to the wrong one 0; steps that are late cost more than that.
    return (returns.reshape(seeds, -1) > 0.5).mean(axis=1).tolist()


def draw(results: list[dict[str, Any]], path: Path) -> None:
    """Draw the mean over seeds with its range, a line a model."""
    import matplotlib.pyplot as plt  # noqa: PLC0415

    figure, axes = plt.subplots(figsize=(6.4, 4.0), layout="constrained")
    for name in dict.fromkeys(row["model"] for row in results):
        rows = sorted((row for row in results if row["model"] == name), key=lambda row: row["length"])
        lengths, values = [row["length"] for row in rows], np.array([row["success"] for row in rows])
        (line,) = axes.plot(lengths, values.mean(axis=1), marker="o", label=name)
        axes.fill_between(lengths, values.min(axis=1), values.max(axis=1), color=line.get_color(), alpha=0.12)
    axes.axhline(0.5, color="0.6", linestyle=":", linewidth=1)
    axes.set(xscale="log", ylim=(-0.03, 1.03))
    axes.set(xlabel="steps between sign and choice", ylabel="episodes that end at the right arm")
    ticks = sorted({row["length"] for row in results})
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main() -> None:
    """Run all models and lengths, write the results and draw them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=MODELS.names(), default=NAMES)
    parser.add_argument("--lengths", nargs="+", type=int, default=LENGTHS)
    parser.add_argument("--steps", type=int, default=500_000, help="environment steps of each seed")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--features", type=int, default=32)
    parser.add_argument("--figure", type=Path, default=FIGURE)
    add_output_option(parser, "memory_length")
    options = parser.parse_args()
    settings = {"features": options.features, "steps": options.steps, "seeds": options.seeds}
    results = []
    for length in options.lengths:
        for name in options.models:
            results.append({"model": name, "length": length, "success": success(name, length, **settings)})
            print(results[-1], flush=True)
    write(options.out, {"settings": settings, "results": results})
    draw(results, options.figure)


if __name__ == "__main__":
    main()
