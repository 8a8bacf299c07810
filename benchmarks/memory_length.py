"""How far does each model remember? `python -m benchmarks.memory_length`.

Trains PPO with several memory models on the passive T-maze, whose corridor says how long a sign must be remembered, and
draws the share of episodes that end at the right arm against the length of the corridor. What is compared is the memory
alone: in the corridor the agent may only walk on, and at the junction only turn, so that walking straight need not be
learned; and rollouts are whole episodes, so that gradients reach the sign. A seed's training ends where it has
solved the maze.
"""

import argparse
import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from benchmarks._report import add_output_option, write

from memorax import lox
from memorax.algorithms import PPO, PPOConfig
from memorax.core.spaces import Box, Dict
from memorax.environments import make
from memorax.environments.wrappers.base import ObservationWrapper
from memorax.networks import MLP, FeatureExtractor, Network, heads
from memorax.networks.blocks import FFN, PreNorm, Residual, Stack
from memorax.networks.sequence_models import MODELS

NAMES = ("gru", "lru", "mamba2", "attention", "gated_deltanet", "mlp")
LENGTHS = (10, 30, 100, 300)
SOLVED = 0.95
"""A seed's training ends where so many of its episodes end at the right arm."""
_WALK, _TURN = np.array([1, 0, 0, 0], bool), np.array([0, 1, 0, 1], bool)
FIGURE = Path(__file__).parent.parent / "docs" / "memory_length.png"


@dataclass(frozen=True)
class Settings:
    """How each model is trained on each corridor."""

    features: int = 32
    """Width of everything."""
    steps: int = 500_000
    """The most environment steps of a seed, rounded up to whole rounds."""
    rounds: int = 20
    """How often a run that takes all steps is looked at; it may end there."""
    seeds: int = 3
    """How many seeds, side by side."""
    seed: int = 20
    """The first of them; those that settings were chosen on are others."""
    learning_rate: float = 3e-3
    """Step size of Adam."""
    entropy: float = 0.03
    """Weight of the entropy bonus, times the root of `length + 1`: one step in so many is a choice, and its advantage,
    standardized over all of them, grows with that root."""


def memory(name: str, length: int, features: int) -> Any:
    """Build a memory model; all of them with their defaults, but attention with a window that covers the corridor."""
    options = {"context_length": length + 1} if name == "attention" else {}
    return MODELS.get(name)(features, **options)


class OneWay(ObservationWrapper):
    """Let the agent of a passive T-maze only walk on in the corridor, and only turn at the junction."""

    def show(self, key: jax.Array, observation: jax.Array) -> dict[str, jax.Array]:
        """Put a mask of right, up, left and down beside the observation, whose first number says "at the junction"."""
        junction = observation[0] == 1
        return {"observation": observation, "action_mask": jnp.where(junction, _TURN, _WALK)}

    def observation_space(self, params: Any = None) -> Dict:
        """The observation and the mask."""
        return Dict({"observation": self.env.observation_space(params), "action_mask": Box(0, 1, (4,), jnp.bool_)})


def build(name: str, length: int, settings: Settings) -> PPO:
    """Build PPO on one trunk, a block with the memory and one without, for a corridor."""
    features = settings.features
    env, env_params = make("memory::TMazePassive", length=length)
    env = OneWay(env)
    layers = memory(name, length, features), FFN(2 * features)
    torso = Stack(blocks=[Residual(PreNorm(layer)) for layer in layers])
    trunk = FeatureExtractor(MLP((features,))), torso
    actor = Network(*trunk, heads.Categorical(env.action_space(env_params).n))
    critic = Network(*trunk, heads.VNetwork())
    episodes = max(1, 64 // (length + 1))  # of each environment in a rollout: whole ones
    config = PPOConfig(
        num_envs=32,
        num_steps=episodes * (length + 1),
        num_minibatches=4,
        entropy_coefficient=settings.entropy * (length + 1) ** 0.5,
    )
    optimizer = optax.chain(optax.clip_by_global_norm(0.5), optax.adam(settings.learning_rate, eps=1e-5))
    return PPO(config, env, env_params, actor, critic, optimizer, optimizer)


def player(agent: PPO, episodes: int) -> Callable[[jax.Array, Any], list[float]]:
    """Make what plays so many episodes of each seed, and gives the share that ends at the right arm."""

    def play(key: jax.Array, state: Any) -> jax.Array:
        returns = lox.spool(agent.evaluate)(key, state, num_episodes=episodes)[1]["returned_episode_returns"]
        return jnp.mean(returns > 0.5)  # the right arm pays 1, the wrong one 0

    compiled = jax.jit(jax.vmap(play))
    return lambda keys, states: compiled(keys, states).tolist()


def measure(name: str, length: int, settings: Settings) -> dict[str, Any]:
    """Train each seed until it has solved the maze or its steps are used up, then play; return what happened."""
    start, agent = time.perf_counter(), build(name, length, settings)
    keys = jax.vmap(jax.random.key)(settings.seed + jnp.arange(settings.seeds))
    states, look, curve = jax.vmap(agent.init)(keys), player(agent, 64), []
    updates = max(1, round(settings.steps / settings.rounds / agent.steps_per_update))
    going = np.ones(settings.seeds, bool)

    @jax.jit
    def train(states: Any, going: jax.Array) -> Any:
        def one(key: jax.Array, state: Any, goes_on: jax.Array) -> Any:
            after = agent.train(key, state, updates * agent.steps_per_update)
            return jax.tree.map(lambda old, new: jnp.where(goes_on, new, old), state, after)

        return jax.vmap(one)(keys, states, going)

    while going.any():
        states = train(states, going)
        curve.append(look(keys, states))
        going &= (np.array(curve[-1]) < SOLVED) & (np.array(states.step) < settings.steps)
    fresh = jax.vmap(lambda key: jax.random.fold_in(key, 1))(keys)
    final, steps = player(agent, 256)(fresh, states), states.step.tolist()
    seconds = round(time.perf_counter() - start, 1)
    return {"model": name, "length": length, "success": final, "steps": steps, "seconds": seconds, "curve": curve}


def draw(results: list[dict[str, Any]], path: Path) -> None:
    """Draw the mean over seeds with its range, a line a model, each a little beside the others."""
    import matplotlib.pyplot as plt  # noqa: PLC0415

    figure, axes = plt.subplots(figsize=(6.4, 4.0), layout="constrained")
    names = list(dict.fromkeys(row["model"] for row in results))
    for index, name in enumerate(names):
        rows = sorted((row for row in results if row["model"] == name), key=lambda row: row["length"])
        lengths = np.array([row["length"] for row in rows]) * 1.05 ** (index - (len(names) - 1) / 2)
        values = np.array([row["success"] for row in rows])
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
    for field in dataclasses.fields(Settings):
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=type(field.default), default=field.default)
    parser.add_argument("--figure", type=Path, default=FIGURE)
    add_output_option(parser, "memory_length")
    options = parser.parse_args()
    settings = Settings(**{field.name: getattr(options, field.name) for field in dataclasses.fields(Settings)})
    results = []
    for length in options.lengths:
        for name in options.models:
            results.append(measure(name, length, settings))
            print({key: value for key, value in results[-1].items() if key != "curve"}, flush=True)
            write(options.out, {"settings": dataclasses.asdict(settings), "results": results})
    draw(results, options.figure)


if __name__ == "__main__":
    main()
