"""Longer and shorter variants of a run's environment."""

import re
from collections.abc import Sequence
from typing import Any

from memorax.experiment.config import RunConfig
from memorax.experiment.imports import make_environment

LENGTH = "length"
"""The argument of an environment that says how far back an agent has to remember."""
_FACTORS = (0.5, 1, 2, 4, 8)
_LEVELS = ("Easy", "Medium", "Hard")


def variants(config: RunConfig, option: str | None = None, values: Sequence[Any] = ()) -> dict[str, Any]:
    """Make variants of a run's environment, to see whether the agent generalizes to them.

    Args:
        config: The run.
        option: The argument of the environment that varies. None: `length` where the environment has it, otherwise the
            levels of difficulty that it comes in (`Easy`, `Medium`, `Hard`) and that have the same spaces.
        values: Its values; none: half to eight times its own.

    Returns:
        `(environment, parameters)` by the name of the variant, `length=20` or the level; empty where `option` is None
        and nothing can vary.

    Raises:
        TypeError: The environment does not take this option, or is not a number where no values are given.
        ValueError: A value is refused by the environment.
    """
    own, params = make_environment(config.env, config.env_options)
    current = config.env_options.get(option or LENGTH, getattr(own, option or LENGTH, None))
    if option is None and not isinstance(current, int):
        return _levels(config, own, params)
    if not values:
        if not isinstance(current, int):
            raise TypeError(f"`values` must be given for `{option}`, got none: {config.env} has no number of that name")
        values = sorted({max(1, round(current * factor)) for factor in _FACTORS})
    name = option or LENGTH
    return {f"{name}={value}": make_environment(config.env, config.env_options | {name: value}) for value in values}


def _levels(config: RunConfig, own: Any, params: Any) -> dict[str, Any]:
    """The levels of difficulty of an environment that have its spaces."""
    stem = re.sub(rf"({'|'.join(_LEVELS)})$", "", config.env)
    if stem == config.env:
        return {}
    made = {level: make_environment(stem + level, config.env_options) for level in _LEVELS}
    spaces = own.observation_space(params), own.action_space(params)
    return {
        level: (env, p) for level, (env, p) in made.items() if (env.observation_space(p), env.action_space(p)) == spaces
    }
