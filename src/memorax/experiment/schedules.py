"""Schedules of hyperparameters over a run: `linear`, `cosine:0.001`, `constant:0:0.1`."""

import dataclasses
import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

import jax.numpy as jnp

from memorax.core.hyperparameters import config_values
from memorax.core.types import Array
from memorax.experiment.env_options import pairs, read_pairs

KINDS = ("constant", "linear", "cosine")
LEARNING_RATES = ("learning_rate", "critic_learning_rate")
EPSILON = "epsilon"
_EXAMPLE = "learning_rate=cosine:0:0.1"


@dataclass(frozen=True)
class Schedule:
    """How a hyperparameter changes over a run.

    Attributes:
        kind: `constant`, `linear` or `cosine`: how it goes from its value to `end`; a constant stays.
        end: Value at the end; None where nothing was said.
        warmup: Fraction of the run, [0, 1), over which it first rises linearly from zero to its value.
    """

    kind: str
    end: float | None = None
    warmup: float = 0.0

    def values(self, start: float | Array, end: float) -> Callable[[Any], Array]:
        """Give the value as a function of the fraction of the run that is over.

        Args:
            start: Value after the warm-up.
            end: Value at the end, where the schedule says none.
        """
        end = end if self.end is None else self.end

        def value(fraction: Any) -> Array:
            done = jnp.clip(jnp.asarray(fraction, jnp.float32), 0.0, 1.0)
            after = jnp.clip((done - self.warmup) / (1.0 - self.warmup), 0.0, 1.0)
            left = {"constant": jnp.ones_like(after), "linear": 1.0 - after}.get(self.kind)
            left = 0.5 * (1.0 + jnp.cos(math.pi * after)) if left is None else left
            rise = jnp.minimum(done / self.warmup, 1.0) if self.warmup else 1.0
            return (end + (start - end) * left) * rise

        return value


def read_schedule(name: str, text: Any) -> Schedule:
    """Read a schedule, `KIND[:END[:WARMUP]]`.

    Args:
        name: The hyperparameter, for messages.
        text: The schedule.

    Raises:
        TypeError: It is not a string.
        ValueError: It is not of this form, or a number is out of range.
    """
    if not isinstance(text, str):
        raise TypeError(f"`schedules` must map names to texts such as linear or cosine:0:0.1, got {name}={text!r}")
    kind, *numbers = text.split(":")
    if kind not in KINDS or len(numbers) > 2:
        raise ValueError(
            f"`{name}` of `schedules` must be {', '.join(KINDS)}, then perhaps `:END` and `:WARMUP`, got {text}; "
            f"write for example {_EXAMPLE}"
        )
    try:
        end, warmup = (float(word) if word else None for word in (*numbers, "", "")[:2])
    except ValueError:
        raise ValueError(f"`{name}` of `schedules` must have numbers after the colons, got {text}") from None
    if end is not None and not 0.0 <= end < math.inf:
        raise ValueError(f"`{name}` of `schedules` must end at a finite number of at least 0, got {text}")
    if warmup is not None and not 0.0 <= warmup < 1.0:
        raise ValueError(f"the warm-up of `{name}` of `schedules` must be a fraction in [0, 1), got {text}")
    return Schedule(kind, None if kind == "constant" else end, warmup or 0.0)


def check_schedules(schedules: Any, hyperparameters: Any, others: Collection[str] = ()) -> None:
    """Check schedules, and that the run has what they change.

    Args:
        schedules: Texts by name of the hyperparameter.
        hyperparameters: The algorithm's configuration.
        others: Further hyperparameters, of the run.

    Raises:
        TypeError: They are not a dictionary of strings.
        ValueError: One is malformed, or of something that has no schedule here.
    """
    if not isinstance(schedules, dict):
        raise TypeError(f"`schedules` must map names to texts such as linear or cosine:0:0.1, got {schedules!r}")
    epsilon = [EPSILON] if hasattr(hyperparameters, "epsilon_start") else []
    values = config_values(hyperparameters)
    known = [*LEARNING_RATES, *others, *epsilon, *values]
    for name, text in schedules.items():
        schedule = read_schedule(name, text)
        if name not in known:
            raise ValueError(f"`schedules` must be of {', '.join(known)} with this algorithm, got {name}")
        if name in values and schedule.kind != "constant":
            _check_end(name, schedule, hyperparameters)


def _check_end(name: str, schedule: Schedule, hyperparameters: Any) -> None:
    """Refuse a value at the end that the algorithm's configuration refuses."""
    try:
        dataclasses.replace(hyperparameters, **{name: schedule.end or 0.0})
    except ValueError as error:
        raise ValueError(
            f"`{name}` of `schedules` must end at a value that it may have; write {schedule.kind}:END ({error})"
        ) from error


def read_schedules(words: list[str]) -> dict[str, Any]:
    """Read `NAME=SCHEDULE` words of the command line.

    Raises:
        ValueError: A word is not of this form.
    """
    return {name: str(value) for name, value in read_pairs("schedules", words, _EXAMPLE).items()}


Schedules: TypeAlias = Annotated[dict[str, Any], pairs(read_schedules, "NAME=KIND[:END[:WARMUP]] ...")]
"""Schedules by name of the hyperparameter, on the command line `NAME=KIND[:END[:WARMUP]] ...`."""
