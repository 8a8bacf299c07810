"""Resuming with other values: which fields may change, and what a run was like at an earlier step."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from memorax.core.hyperparameters import real_fields
from memorax.core.registry import nearest
from memorax.experiment.config import RunConfig


def changeable_fields(config: RunConfig) -> list[str]:
    """Name the fields that a resumed run may change though they decide about its numbers.

    All real numbers, but for those that decide about its program or how it begins.
    """
    own, theirs = type(config), type(config.hyperparameters)
    return sorted({*real_fields(own), *real_fields(theirs)} - {"stop_at", *getattr(theirs, "static", ())})


def apply_changes(config: RunConfig, changes: Mapping[str, Any], step: int) -> RunConfig:
    """Change fields of a run that is resumed, and record it in its history.

    Args:
        config: The run so far.
        changes: New values by field; those that are what they were are left out of the history.
        step: The step that the run is resumed from.

    Returns:
        The run from now on.

    Raises:
        TypeError: A value is of the wrong kind.
        ValueError: A field may not change, or its value is out of range.
    """
    known = changeable_fields(config)
    for name in changes:
        if name not in known:
            near = "".join(f"; nearest: {', '.join(found)}" for found in [nearest(name, tuple(known))] if found)
            raise ValueError(f"`set` must be of a field that may change, got {name}{near}; these: {', '.join(known)}")
    changed = _with(config, changes)
    different = [name for name in changes if _get(config, name) != _get(changed, name)]
    return _recorded(config, changed, different, step) if different else config


def with_copied(config: RunConfig, values: Mapping[str, Any], step: int, source: int) -> RunConfig:
    """Give a member of a population the hyperparameters with which it goes on as a copy, and record it in its history.

    Args:
        config: The member so far.
        values: New values by field.
        step: The step after which it goes on.
        source: Number of the member that it copies.
    """
    return _recorded(config, _with(config, values), list(values), step, copied=source)


def config_at(config: RunConfig, step: int) -> RunConfig:
    """Give the configuration that the checkpoint of a step was trained with: without what was changed later.

    Args:
        config: The run as it is now.
        step: The checkpoint's step; a change at this very step came after it.
    """
    for change in reversed(config.history):
        if change["step"] >= step:
            config = _with(config, change["before"])
    return config


def describe_changes(config: RunConfig, step: int) -> str:
    """Say what was changed at a step, ` with gamma=0.99 instead of 0.9`; empty where nothing was."""
    texts = [
        f"{name}={change['after'][name]} instead of {before}"
        for change in config.history
        if change["step"] == step
        for name, before in change["before"].items()
    ]
    return f" with {', '.join(texts)}" if texts else ""


def rewound(config: RunConfig, step: int) -> RunConfig:
    """Give the configuration as it was when the checkpoint of a step was saved, without what was recorded later."""
    history = tuple(change for change in config.history if change["step"] < step)
    return dataclasses.replace(config_at(config, step), history=history)


def _recorded(before: RunConfig, after: RunConfig, names: Sequence[str], step: int, **about: Any) -> RunConfig:
    """Add an entry to the history."""
    entry = {
        "step": step,
        **about,
        "before": {name: _get(before, name) for name in names},
        "after": {name: _get(after, name) for name in names},
    }
    return dataclasses.replace(after, history=(*before.history, entry))


def _get(config: RunConfig, name: str) -> Any:
    return getattr(config if _is_own(name) else config.hyperparameters, name)


def _with(config: RunConfig, values: Mapping[str, Any]) -> RunConfig:
    own = {name: value for name, value in values.items() if _is_own(name)}
    theirs = {name: value for name, value in values.items() if not _is_own(name)}
    return dataclasses.replace(config, **own, hyperparameters=dataclasses.replace(config.hyperparameters, **theirs))


def _is_own(name: str) -> bool:
    return name in RunConfig.__dataclass_fields__
