"""The settings of a trial: which fields of a run a sweep may search, and the run that has the values of a trial."""

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any

from memorax.core.registry import suggest
from memorax.experiment.config import RunConfig
from memorax.experiment.space import Choice, Dimension

ENV_OPTION = "env_options."
"""Before the name of an argument of the environment."""
_FIXED = {
    *("algorithm", "env", "seed", "seeds", "steps", "hyperparameters"),
    *("log_every", "checkpoint_every", "eval_every", "eval_episodes", "eval_env", "keep_best"),
    *("stop_at", "stop_after", "patience", "stop_metric", "fork", "fork_step"),
}
"""What all trials have in common, so that they can be compared."""
_SEARCHABLE = (bool, int, float, str, types.NoneType)


def with_parameters(run: RunConfig, parameters: Mapping[str, Any]) -> RunConfig:
    """Give a run the settings of a trial.

    Args:
        run: What all trials have in common.
        parameters: Values by field, of the run or of its hyperparameters; `env_options.NAME` is an argument of the
            environment.

    Raises:
        TypeError: A value is of the wrong kind.
        ValueError: There is no such field, or a value is refused.
    """
    own, theirs, options = {}, {}, {}
    known = {field.name for field in dataclasses.fields(run.hyperparameters)}
    for name, value in parameters.items():
        if name.startswith(ENV_OPTION):
            options[name.removeprefix(ENV_OPTION)] = value
        elif name in known:
            theirs[name] = value
        else:
            own[name] = value
    hyperparameters = dataclasses.replace(run.hyperparameters, **theirs)
    return dataclasses.replace(run, **own, env_options=run.env_options | options, hyperparameters=hyperparameters)


def check_space(space: Mapping[str, Dimension], run: RunConfig) -> dict[str, Dimension]:
    """Check that a run takes what is searched; every bound and every choice by itself.

    Args:
        space: What is searched.
        run: What all trials have in common.

    Returns:
        The space, with the bounds of real fields as floats.

    Raises:
        TypeError: A value is of the wrong kind.
        ValueError: A field is unknown or the same for all trials, or refuses a value.
    """
    kinds = {name: kind for name, kind in _kinds(run).items() if name not in _FIXED}
    checked: dict[str, Dimension] = {}
    for name, dimension in space.items():
        if not name.startswith(ENV_OPTION):
            if name in _FIXED:
                raise ValueError(f"`space` must not have {name}, which all trials have in common; set it as an option")
            if name not in kinds:
                near = suggest(name, tuple(kinds))
                raise ValueError(f"`space` must be of fields of a run, got {name}{near}")
        fitted = _fitted(name, dimension, kinds[name]) if name in kinds else dimension
        for value in fitted.values if isinstance(fitted, Choice) else (fitted.low, fitted.high):
            try:
                with_parameters(run, {name: value})
            except (TypeError, ValueError) as error:
                raise type(error)(f"`{name}` of `space` has {value}, which is refused: {error}") from None
        checked[name] = fitted
    return checked


def is_real(name: str, run: RunConfig) -> bool:
    """Whether a field holds a real number, which can change while a run trains."""
    return float in _kinds(run).get(name, ())


def write_parameters(parameters: Mapping[str, Any]) -> str:
    """Format settings for a person: `learning_rate=0.0012 num_steps=64`."""
    return " ".join(f"{name}={write_value(value)}" for name, value in parameters.items())


def write_value(value: Any) -> str:
    """Format a value for a person, a real number with four digits."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _fitted(name: str, dimension: Dimension, kinds: tuple[type, ...]) -> Dimension:
    """Draw real numbers for a field that holds real numbers, and integers for one that holds integers."""
    if isinstance(dimension, Choice):
        return dimension
    if float in kinds:
        return dataclasses.replace(dimension, low=float(dimension.low), high=float(dimension.high))
    if int not in kinds:
        raise ValueError(f"`{name}` of `space` must be a choice, got {dimension}; it does not hold a number")
    if not isinstance(dimension.low, int) or not isinstance(dimension.high, int):
        raise TypeError(f"`{name}` of `space` must have two integers as bounds, got {dimension}")
    return dimension


def _kinds(run: RunConfig) -> dict[str, tuple[type, ...]]:
    """The types that fields may have, of those that hold a single value."""
    hints = typing.get_type_hints(type(run)) | typing.get_type_hints(type(run.hyperparameters))
    kinds = {name: _alternatives(hint) for name, hint in hints.items()}
    return {name: found for name, found in kinds.items() if found and all(kind in _SEARCHABLE for kind in found)}


def _alternatives(hint: Any) -> tuple[type, ...]:
    """What a type hint allows, literals by the type of their values."""
    if typing.get_origin(hint) is typing.Literal:
        return tuple({type(value) for value in typing.get_args(hint)})
    choices = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    return tuple(choices)
