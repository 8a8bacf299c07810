"""Presets: hyperparameters that were tuned for a family of tasks, `memorax train ppo --preset recall`.

`ALGORITHM_FAMILY.toml` holds fields of the run, and under `[hyperparameters]` those of the algorithm, that differ
from the default run. `ALGORITHM_FAMILY.json` beside it records the search they come from: tasks, seeds, budget, the
values that were tried and every trial. `python -m benchmarks.presets` makes both.
"""

import dataclasses
import tomllib
from pathlib import Path
from typing import Any

from memorax.core.registry import suggest
from memorax.experiment.config import RunConfig
from memorax.experiment.recipes import default_run

__all__ = ["preset_names", "preset_run"]

FOLDER = Path(__file__).parent


def preset_names(algorithm: str) -> list[str]:
    """Name the families of tasks that there are presets for.

    Args:
        algorithm: Name of the algorithm.
    """
    return sorted(path.stem.removeprefix(f"{algorithm}_") for path in FOLDER.glob(f"{algorithm}_*.toml"))


def preset_run(algorithm: str, family: str) -> RunConfig:
    """Give the default run of an algorithm with the hyperparameters that were tuned for a family of tasks.

    Args:
        algorithm: Name of the algorithm.
        family: Name of the family, such as `recall`.

    Returns:
        The run; environment and number of steps are those of the default run.

    Raises:
        ValueError: There is no such algorithm or preset; the message names those that there are.
    """
    default = default_run(algorithm)
    names = preset_names(algorithm)
    if family not in names:
        raise ValueError(f"`preset` must be one that {algorithm} has, got {family}{suggest(family, tuple(names))}")
    return with_fields(default, read_preset(FOLDER / f"{algorithm}_{family}.toml"))


def read_preset(path: Path) -> dict[str, Any]:
    """Read the fields of a preset; those of the algorithm are under `hyperparameters`."""
    return tomllib.loads(path.read_text(encoding="utf-8"))


def with_fields(config: RunConfig, content: dict[str, Any]) -> RunConfig:
    """Change fields of a run and of its hyperparameters."""
    own = dict(content)
    hyperparameters = dataclasses.replace(config.hyperparameters, **own.pop("hyperparameters", {}))
    return dataclasses.replace(config, hyperparameters=hyperparameters, **own)
