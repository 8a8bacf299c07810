"""Which runs may share a program: those that differ in nothing that decides about it."""

import dataclasses
from collections.abc import Sequence

from memorax.core.hyperparameters import config_values, real_fields
from memorax.experiment.config import FACTORS, RunConfig
from memorax.experiment.schedules import LEARNING_RATES

_NUMBERS = (*LEARNING_RATES, *FACTORS)
"""Fields of a run that are hyperparameters in its state."""
_BOOKKEEPING = ("checkpoint_every", "keep_best", "stop_at", "stop_after", "patience", "stop_metric", "loggers")
_FREE = frozenset({"seed", "imports", "history", "fork", "fork_step", "hyperparameters", *_NUMBERS, *_BOOKKEEPING})


def differences(a: RunConfig, b: RunConfig) -> list[str]:
    """Name the fields that keep two runs from sharing a program, as those of `train_many` do.

    They may differ in every hyperparameter that is a real number, also in those of the optimizer, in `seed`, and in
    what is saved, logged and stopped by. A number and None differ, because None decides about the program.

    Args:
        a: A run.
        b: Another one.

    Returns:
        Names of fields; empty if one program serves both.
    """
    if type(a.hyperparameters) is not type(b.hyperparameters):
        return ["algorithm"]
    own = [
        x.name
        for x in dataclasses.fields(RunConfig)
        if x.name not in _FREE and getattr(a, x.name) != getattr(b, x.name)
    ]
    shapes = [name for name in _NUMBERS if (getattr(a, name) is None) != (getattr(b, name) is None)]
    first, second = a.hyperparameters, b.hyperparameters
    free = config_values(first).keys() & config_values(second).keys()
    theirs = [
        x.name
        for x in dataclasses.fields(first)
        if x.name not in free and getattr(first, x.name) != getattr(second, x.name)
    ]
    return [*own, *shapes, *theirs]


def group_runs(configs: Sequence[RunConfig]) -> list[list[int]]:
    """Group runs that may share a program.

    Args:
        configs: The runs.

    Returns:
        Indices of the runs of each group, in order.
    """
    groups: list[list[int]] = []
    for i, config in enumerate(configs):
        fitting = next((group for group in groups if not differences(configs[group[0]], config)), None)
        if fitting is None:
            groups.append([i])
        else:
            fitting.append(i)
    return groups


def run_hyperparameters(config: RunConfig, names: Sequence[str]) -> dict[str, float]:
    """Give the hyperparameters of a run that its state holds, without building its agent.

    Args:
        config: The run.
        names: Their names, as an agent of a run like it has them.
    """
    theirs = real_fields(type(config.hyperparameters))
    return {name: getattr(config.hyperparameters if name in theirs else config, name) for name in names}
