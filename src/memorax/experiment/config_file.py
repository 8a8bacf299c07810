"""`config.json`: the configuration of a run in its folder."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from memorax.experiment.changes import config_at
from memorax.experiment.config import RunConfig
from memorax.experiment.imports import import_modules
from memorax.experiment.recipes import find_recipe
from memorax.experiment.run.files import CONFIG_FILE, read_json, write_json
from memorax.experiment.schedules import EPSILON

_EVALUATION = ("eval_every", "eval_episodes", "eval_env", "eval_env_options", "keep_best")
_STOPPING = ("stop_at", "stop_after", "patience", "stop_metric")
RESUMABLE = frozenset({"steps", "checkpoint_every", "imports", "loggers", "history", *_EVALUATION, *_STOPPING})
"""Fields that a resumed run may change: they say how far to go and what to keep, not what is learned at a step.

A finished run that goes further keeps its last log line, which is over a shorter interval where `log_every` did not
divide the steps; a run that was given all steps at once has no line there.
"""


def to_dict(config: RunConfig) -> dict[str, Any]:
    """Convert a configuration to a dictionary that JSON can hold."""
    return dataclasses.asdict(config)


def from_dict(content: dict[str, Any], source: str = "the configuration") -> RunConfig:
    """Convert a dictionary made by `to_dict` to a configuration.

    Args:
        content: Fields by name; missing ones have their defaults.
        source: Where it comes from, for error messages.

    Raises:
        ValueError: A field is unknown or missing without a default, or its value is refused.
    """
    if not isinstance(content, dict) or not isinstance(content.get("algorithm"), str):
        raise ValueError(f"`algorithm` must be in {source}, which does not look like a run's configuration")
    fields = dict(content)
    import_modules(fields.get("imports", ()))
    cls = find_recipe(fields["algorithm"]).config
    hyperparameters = fields.pop("hyperparameters", {})
    if not isinstance(hyperparameters, dict):
        raise ValueError(
            f"`hyperparameters` in {source} must map names to values, got {hyperparameters!r}; restore the file"
        )
    _check_fields(cls, hyperparameters, source)
    _check_fields(RunConfig, fields, source)
    try:
        return RunConfig(**_tuples(fields), hyperparameters=cls(**_tuples(hyperparameters)))
    except TypeError as error:
        raise ValueError(f"{source} does not hold a run's configuration ({error})") from error


def save_config(folder: Path, config: RunConfig) -> None:
    """Write the configuration into a run's folder."""
    write_json(folder / CONFIG_FILE, to_dict(config))


def load_config(folder: str | Path) -> RunConfig:
    """Read the configuration from a run's folder; imports the modules that the run imported.

    Raises:
        ValueError: The folder holds no run, or its configuration cannot be understood.
    """
    path = Path(folder) / CONFIG_FILE
    if not path.is_file():
        raise ValueError(f"{folder} must be a run's folder, got one without {CONFIG_FILE}; `memorax train` makes one")
    try:
        return from_dict(read_json(path), str(path))
    except ValueError as error:
        if str(path) in str(error):
            raise
        raise ValueError(f"{path} must hold the configuration of a run: {error}; restore the file") from error


def check_same_run(stored: RunConfig, wanted: RunConfig, folder: Path) -> None:
    """Check that a run is resumed with the configuration that it was started with.

    Only how far it goes, when it is evaluated, what is kept and where it is logged may change.

    Raises:
        ValueError: A field differs; the message names it and both values.
    """
    before, after = _flat(stored), _flat(wanted)
    free = _free_fields(stored)
    for name in before | after:
        if before.get(name) != after.get(name) and name not in free:
            raise ValueError(
                f"`{name}` must be {before.get(name)} to resume {folder}, got {after.get(name)}; "
                "leave the option out, or start a new run with another `--out`"
            )


def numeric_fields(config: RunConfig, step: int | None = None) -> dict[str, Any]:
    """The fields that decide about the numbers of a run, as JSON has them: those that a resumed run may not change.

    Args:
        config: The run.
        step: Step of a checkpoint, to give them as they were until then; None for the present values.
    """
    config = config if step is None else config_at(config, step)
    free = _free_fields(config)
    return json.loads(json.dumps({name: value for name, value in _flat(config).items() if name not in free}))


def _free_fields(config: RunConfig) -> frozenset[str]:
    """The fields that a resumed run may change; not the steps where a schedule is over them."""
    over_steps = config.anneal_learning_rate or config.schedules.keys() - {EPSILON}
    return RESUMABLE - ({"steps"} if over_steps else set())


def _flat(config: RunConfig) -> dict[str, Any]:
    """All fields, in the order in which a difference is named: what follows from others comes after them."""
    fields = to_dict(config)
    return {"algorithm": fields["algorithm"]} | fields.pop("hyperparameters") | fields


def _tuples(content: dict[str, Any]) -> dict[str, Any]:
    """JSON has lists where a configuration has tuples."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in content.items()}


def _check_fields(cls: type, content: dict[str, Any], source: str) -> None:
    known = {field.name for field in dataclasses.fields(cls)}
    for name in content:
        if name not in known:
            raise ValueError(
                f"`{name}` in {source} is not a field of {cls.__name__}; it was written by another version of memorax"
            )
