"""Evaluating the trained agent of a run."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np

from memorax.experiment.loading import restore_run
from memorax.experiment.report.statistics import summarize
from memorax.experiment.run.episodes import MAX_STEPS, episode_player
from memorax.experiment.run.files import EVALUATION_FILE, write_json
from memorax.experiment.run.programs import seed_keys


def evaluate(
    folder: str | Path,
    *,
    step: int | str = "last",
    episodes: int = 100,
    max_steps: int = MAX_STEPS,
    deterministic: bool = True,
) -> dict[str, Any]:
    """Run whole episodes with the policy of every seed, and write the result to `evaluation.json`.

    A folder that cannot be written to is a warning, so that the result is not lost.

    Args:
        folder: The run's folder.
        step: `"last"` for the newest checkpoint, `"best"` for the one that `keep_best` of the run kept, or the step of
            one that is kept.
        episodes: Number of episodes of each seed.
        max_steps: Maximum number of steps of an episode; longer episodes are left out.
        deterministic: Whether to act greedily, rather than to sample actions as in training.

    Returns:
        `step`, `policy` (`"deterministic"` or `"stochastic"`), `episodes`, and for `return` and `length` the mean
        `per_seed` and statistics over seeds.

    Raises:
        ValueError: A number is below 1, the folder holds no run or no such checkpoint, or no episode was completed.
    """
    result = measure(folder, step=step, episodes=episodes, max_steps=max_steps, deterministic=deterministic)
    try:
        write_json(Path(folder) / EVALUATION_FILE, result)
    except OSError as error:
        warnings.warn(f"the result of the evaluation is returned, but {error}", RuntimeWarning, stacklevel=2)
    return result


def measure(
    folder: str | Path,
    *,
    step: int | str = "last",
    episodes: int = 100,
    max_steps: int = MAX_STEPS,
    deterministic: bool = True,
) -> dict[str, Any]:
    """Do what `evaluate` does, without writing anything; takes, gives and raises the same."""
    for name, number in (("episodes", episodes), ("max_steps", max_steps)):
        if number < 1:
            raise ValueError(f"`{name}` must be at least 1, got {number}")
    folder = Path(folder)
    config, agent, state, reached = restore_run(folder, step)
    _, _, keys = seed_keys(config.seed_numbers())
    try:
        played = episode_player(agent, episodes, max_steps, deterministic=deterministic)(keys, state)
    finally:
        getattr(agent, "close", lambda: None)()
    if not np.all(played.episodes):
        raise ValueError(f"`max_steps` must be long enough for every seed to complete an episode, got {max_steps}")
    policy = "deterministic" if deterministic else "stochastic"
    result: dict[str, Any] = {"step": reached, "policy": policy, "episodes": played.episodes.tolist()}
    for name, means in (("return", played.returns), ("length", played.lengths)):
        per_seed = {str(seed): float(x) for seed, x in zip(config.seed_numbers(), means, strict=True)}
        result[name] = {"per_seed": per_seed, **summarize(means)}
    return result
