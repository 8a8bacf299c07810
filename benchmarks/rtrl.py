"""Do exact gradients of a memory make a difference? `python -m benchmarks.rtrl`.

Trains StreamAC on DistractedRecall, with one memory and two ways of computing its gradient: by real-time recurrent
learning, which reaches back to the start of the episode, and of a single step, which does not. All else is equal,
random initial parameters included. The networks see the observation only: with the previous action as an input, an
agent could keep the cue by acting it.
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
from benchmarks._report import add_output_option, write

from memorax import lox
from memorax.algorithms import StreamAC, StreamACConfig
from memorax.environments import make
from memorax.networks import RNN, RTRL, FeatureExtractor, RTUCell, heads, streaming_network

FIGURE = Path(__file__).parent.parent / "docs" / "results" / "rtrl.png"
GRADIENTS = {"rtrl": "exact gradients (RTRL)", "one_step": "gradients of one step"}


@dataclass(frozen=True)
class Settings:
    """How both are trained."""

    length: int = 10
    """Steps with distractors."""
    distractors: int = 6
    """Number of distractors."""
    units: int = 8
    """Recurrent trace units of actor and critic each; a unit has two states."""
    r_min: float = 0.9
    """Smallest initial radius of their eigenvalues; the largest is 1."""
    features: int = 32
    """Width of the layer above them."""
    steps: int = 600_000
    """Environment steps of a seed."""
    points: int = 20
    """How often the agents are evaluated."""
    episodes: int = 100
    """Episodes of an evaluation."""
    seeds: int = 5
    """How many seeds, side by side."""
    seed: int = 100
    """The first of them; those that settings were chosen on are others."""
    num_envs: int = 8
    """Streams."""
    gamma: float = 0.99
    """Discount factor."""
    trace_lambda: float = 0.0
    """Lambda of the eligibility traces."""
    entropy_coefficient: float = 0.02
    """Weight of the entropy bonus."""
    actor_kappa: float = 2.0
    """Scaling factor of the actor's bound on steps."""
    critic_kappa: float = 5.0
    """Scaling factor of the critic's bound on steps."""


def build(gradient: str, settings: Settings) -> StreamAC:
    """Build an agent whose memory is trained by a kind of gradient."""
    env, env_params = make("memory::DistractedRecall", length=settings.length, distractors=settings.distractors)

    def network(head: Any) -> Any:
        units = settings.units
        cell = RTUCell(features=2 * units, state_dim=units, r_min=settings.r_min, linear=True)
        memory = RTRL(model=RNN(cell=cell)) if gradient == "rtrl" else RNN(cell=cell)
        return streaming_network(head, memory, features=(settings.features,)).clone(
            feature_extractor=FeatureExtractor(lambda x: x)
        )

    names = ("num_envs", "gamma", "trace_lambda", "entropy_coefficient", "actor_kappa", "critic_kappa")
    config = StreamACConfig(**{name: getattr(settings, name) for name in names})
    return StreamAC(config, env, env_params, network(heads.Categorical(2)), network(heads.VNetwork()))


def measure(gradient: str, settings: Settings, compile_: Callable[..., Any] = jax.jit) -> dict[str, Any]:
    """Train all seeds, and evaluate them on the way with greedy actions."""
    start, agent = time.perf_counter(), build(gradient, settings)
    keys = jax.vmap(jax.random.key)(settings.seed + jnp.arange(settings.seeds))
    steps = max(1, settings.steps // settings.points // settings.num_envs) * settings.num_envs

    def round_(key: jax.Array, state: Any) -> tuple[Any, jax.Array]:
        state = agent.train(key, state, steps)
        logs = lox.spool(agent.evaluate)(jax.random.fold_in(key, 1), state, num_episodes=settings.episodes)[1]
        return state, jnp.mean(logs["returned_episode_returns"])

    train, states, curve = compile_(jax.vmap(round_)), jax.vmap(agent.init)(keys), []
    for _ in range(settings.points):
        states, returns = train(keys, states)
        curve.append(np.asarray(returns).round(4).tolist())
        print(gradient, len(curve) * steps, curve[-1], round(time.perf_counter() - start), flush=True)
    return {"gradient": gradient, "every": steps, "seconds": round(time.perf_counter() - start, 1), "curve": curve}


def draw(results: list[dict[str, Any]], path: Path) -> None:
    """Draw each seed thinly, and the mean over seeds."""
    import matplotlib.pyplot as plt  # noqa: PLC0415

    figure, axes = plt.subplots(figsize=(6.4, 4.0), layout="constrained")
    for row in results:
        curve = np.array(row["curve"])
        steps = row["every"] * np.arange(1, len(curve) + 1)
        (line,) = axes.plot(steps, curve.mean(axis=1), linewidth=2, label=GRADIENTS[row["gradient"]])
        axes.plot(steps, curve, color=line.get_color(), linewidth=0.7, alpha=0.5)
    axes.axhline(0, color="0.6", linestyle=":", linewidth=1)
    axes.set(xlabel="environment steps", ylabel="return", ylim=(-0.3, 1.05))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main() -> None:
    """Train both, write the results and draw them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for field in dataclasses.fields(Settings):
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=type(field.default), default=field.default)
    parser.add_argument("--gradients", nargs="+", choices=GRADIENTS, default=list(GRADIENTS))
    parser.add_argument("--figure", type=Path, default=FIGURE)
    add_output_option(parser, "rtrl")
    options = parser.parse_args()
    settings = Settings(**{field.name: getattr(options, field.name) for field in dataclasses.fields(Settings)})
    results = []
    for gradient in options.gradients:
        results.append(measure(gradient, settings))
        write(options.out, {"settings": dataclasses.asdict(settings), "results": results})
    draw(results, options.figure)


if __name__ == "__main__":
    main()
