"""Evaluating the trained agent of a run, greedily or as it acted in training."""

import warnings
from pathlib import Path
from typing import Any

import jax
import numpy as np

from memorax import lox
from memorax.experiment.loading import restore_run
from memorax.experiment.report.statistics import summarize
from memorax.experiment.run.files import EVALUATION_FILE, write_json
from memorax.experiment.run.session import seed_keys


def evaluate(
    folder: str | Path, *, episodes: int = 100, max_steps: int = 100_000, deterministic: bool = True
) -> dict[str, Any]:
    """Run whole episodes with the policy of every seed, and write the result to `evaluation.json`.

    A folder that cannot be written to is a warning, so that the result is not lost.

    Args:
        folder: The run's folder.
        episodes: Number of episodes of each seed.
        max_steps: Maximum number of steps of an episode; longer episodes are left out.
        deterministic: Whether to act greedily, rather than to sample actions as in training.

    Returns:
        `step`, `policy` (`"deterministic"` or `"stochastic"`), `episodes`, and for `return` and `length` the mean
        `per_seed` and statistics over seeds.

    Raises:
        ValueError: A number is below 1, the folder holds no run or no checkpoint, or no episode was completed.
    """
    result = measure(folder, episodes=episodes, max_steps=max_steps, deterministic=deterministic)
    try:
        write_json(Path(folder) / EVALUATION_FILE, result)
    except OSError as error:
        warnings.warn(f"the result of the evaluation is returned, but {error}", RuntimeWarning, stacklevel=2)
    return result


def measure(
    folder: str | Path, *, episodes: int = 100, max_steps: int = 100_000, deterministic: bool = True
) -> dict[str, Any]:
    """Do what `evaluate` does, without writing anything; takes, gives and raises the same."""
    for name, number in (("episodes", episodes), ("max_steps", max_steps)):
        if number < 1:
            raise ValueError(f"`{name}` must be at least 1, got {number}")
    folder = Path(folder)
    config, agent, state, step = restore_run(folder)
    _, _, keys = seed_keys(config.seed_numbers())

    def run_episodes(key: Any, state: Any) -> dict[str, Any]:
        play = lox.spool(agent.evaluate)
        return play(key, state, num_steps=max_steps, num_episodes=episodes, deterministic=deterministic)[1]

    logs = jax.device_get(jax.jit(jax.vmap(run_episodes))(keys, state))
    ended = logs["returned_episode"].reshape(config.seeds, -1)
    if not np.all(np.any(ended, axis=1)):
        raise ValueError(f"`max_steps` must be long enough for every seed to complete an episode, got {max_steps}")
    policy = "deterministic" if deterministic else "stochastic"
    result: dict[str, Any] = {"step": step, "policy": policy, "episodes": ended.sum(axis=1).tolist()}
    for name, log in (("return", "returned_episode_returns"), ("length", "returned_episode_lengths")):
        values = logs[log].reshape(config.seeds, -1).astype(np.float64)
        means = np.sum(values * ended, axis=1) / ended.sum(axis=1)
        per_seed = {str(seed): float(x) for seed, x in zip(config.seed_numbers(), means, strict=True)}
        result[name] = {"per_seed": per_seed, **summarize(means)}
    return result
