"""Search spaces: which values a hyperparameter of a sweep may have, and how likely they are."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

import numpy as np

from memorax.core.checks import check_fields, real
from memorax.experiment.env_options import pairs, read_value

_EXAMPLE = "learning_rate=log_uniform:1e-4,1e-2"


@dataclass(frozen=True)
class Uniform:
    """All numbers of an interval are equally likely; between two integers only integers.

    Attributes:
        low: The smallest value.
        high: The largest value.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        _check_bounds(self)

    def __str__(self) -> str:
        """As the command line has it."""
        return f"uniform:{self.low},{self.high}"

    def at(self, fraction: float) -> float:
        """The value below which a fraction in [0, 1) of the draws are."""
        if _is_integer(self):
            return int(self.low + math.floor(fraction * (self.high - self.low + 1)))
        return self.low + fraction * (self.high - self.low)


@dataclass(frozen=True)
class LogUniform:
    """All orders of magnitude of an interval are equally likely; between two integers only integers.

    Attributes:
        low: The smallest value, above 0.
        high: The largest value.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        _check_bounds(self)
        if self.low <= 0:
            raise ValueError(f"`low` must be above 0 for log_uniform, got {self.low}; uniform takes any bounds")

    def __str__(self) -> str:
        """As the command line has it."""
        return f"log_uniform:{self.low},{self.high}"

    def at(self, fraction: float) -> float:
        """The value below which a fraction in [0, 1) of the draws are."""
        if _is_integer(self):
            low, high = math.log(self.low - 0.5), math.log(self.high + 0.5)
            return min(max(round(math.exp(low + fraction * (high - low))), int(self.low)), int(self.high))
        low, high = math.log(self.low), math.log(self.high)
        return min(max(math.exp(low + fraction * (high - low)), self.low), self.high)


@dataclass(frozen=True)
class Choice:
    """A few values, equally likely.

    Attributes:
        values: Numbers, booleans or strings.
    """

    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", tuple(self.values))
        if len(self.values) < 2 or len(set(map(repr, self.values))) < len(self.values):
            raise ValueError(f"`values` must be at least two different ones, got {list(self.values)}; fix a single one")
        for value in self.values:
            if not isinstance(value, bool | int | float | str | None):
                raise TypeError(f"`values` must be numbers, booleans or strings, got {value!r}")

    def __str__(self) -> str:
        """As the command line has it."""
        words = (str(value).lower() if isinstance(value, bool) else str(value) for value in self.values)
        return f"choice:{','.join(words)}"

    def at(self, fraction: float) -> Any:
        """The value below which a fraction in [0, 1) of the draws are."""
        return self.values[int(fraction * len(self.values))]


Dimension: TypeAlias = Uniform | LogUniform | Choice
"""The values of one hyperparameter."""
KINDS: dict[str, Callable[..., Dimension]] = {"log_uniform": LogUniform, "uniform": Uniform, "choice": Choice}


def draw(space: Mapping[str, Dimension], seed: int, number: int) -> dict[str, Any]:
    """Draw the settings of a trial at random; the same seed and number always give the same.

    Args:
        space: What is searched.
        seed: Random seed of the search.
        number: Number of the trial.
    """
    generator = np.random.default_rng((seed, number))
    return {name: dimension.at(float(generator.random())) for name, dimension in space.items()}


def make_dimension(name: str, kind: str, values: Any) -> Dimension:
    """Make the values of a hyperparameter.

    Args:
        name: The hyperparameter, for messages.
        kind: `uniform`, `log_uniform` or `choice`.
        values: The two bounds, or the values to choose from.

    Raises:
        TypeError: A value is of the wrong kind.
        ValueError: There is no such kind, or the values are refused.
    """
    if kind not in KINDS:
        raise ValueError(
            f"`{name}` of `space` must be one of {', '.join(KINDS)}, got {kind}; write for example {_EXAMPLE}"
        )
    if not isinstance(values, list | tuple):
        raise TypeError(f"`{name}` of `space` must have a list of values, got {values!r}; write for example {_EXAMPLE}")
    values = [read_value(value) if isinstance(value, str) else value for value in values]
    if kind != "choice" and len(values) != 2:
        raise ValueError(f"`{name}` of `space` must have two bounds for {kind}, got {len(values)}; write {_EXAMPLE}")
    try:
        return Choice(tuple(values)) if kind == "choice" else KINDS[kind](*values)
    except (TypeError, ValueError) as error:
        raise type(error)(f"`{name}` of `space`: {error}") from None


def space_from_dict(content: Any) -> dict[str, Dimension]:
    """Read a space as files have it, `{"learning_rate": {"log_uniform": [1e-4, 1e-2]}}`.

    Raises:
        TypeError: It is not of this form, or a value is of the wrong kind.
        ValueError: A kind is unknown, or values are refused.
    """
    if not isinstance(content, dict):
        raise TypeError(f"`space` must map names to their values, got {content!r}")
    space = {}
    for name, values in content.items():
        if not isinstance(values, dict) or len(values) != 1:
            raise TypeError(
                f"`{name}` of `space` must have one of {', '.join(KINDS)} and its values, got {values!r}; write for "
                "example {log_uniform: [1e-4, 1e-2]}"
            )
        ((kind, of),) = values.items()
        space[name] = make_dimension(name, kind, of)
    return space


def space_to_dict(space: Mapping[str, Dimension]) -> dict[str, Any]:
    """Write a space as `space_from_dict` reads it."""
    kinds = {cls: kind for kind, cls in KINDS.items()}
    return {
        name: {kinds[type(of)]: [*of.values] if isinstance(of, Choice) else [of.low, of.high]}
        for name, of in space.items()
    }


def read_space(words: list[str]) -> dict[str, Dimension]:
    """Read `NAME=KIND:VALUE,VALUE,...` words of the command line.

    Raises:
        TypeError: A value is of the wrong kind.
        ValueError: A word is not of this form.
    """
    space: dict[str, Dimension] = {}
    for word in words:
        name, _, text = word.partition("=")
        kind, separator, values = text.partition(":")
        if not separator or not name:
            raise ValueError(f"`space` must have the form {_EXAMPLE}, got {word}")
        if name in space:
            raise ValueError(f"`space` must have each name once, got {name} twice; leave one of them out")
        space[name] = make_dimension(name, kind, values.split(","))
    return space


def write_space(content: Any) -> list[str]:
    """Format a space of a file as the words that `read_space` reads.

    Raises:
        TypeError: It is not a space, or a value is of the wrong kind.
        ValueError: A kind is unknown, or values are refused.
    """
    words = [f"{name}={dimension}" for name, dimension in space_from_dict(content).items()]
    for word, dimension in zip(words, space_from_dict(content).values(), strict=True):
        if isinstance(dimension, Choice) and any("," in str(value) for value in dimension.values):
            raise ValueError(f"`space` must not have values with commas, got {word}")
    return words


Space: TypeAlias = Annotated[dict[str, Any], pairs(read_space, "NAME=KIND:VALUE,VALUE ...")]
"""A search space, on the command line `NAME=KIND:VALUE,VALUE ...`."""


def _is_integer(of: Uniform | LogUniform) -> bool:
    return isinstance(of.low, int) and isinstance(of.high, int)


def _check_bounds(of: Uniform | LogUniform) -> None:
    check_fields(of, low=real(), high=real())
    if not of.low < of.high:
        raise ValueError(f"`low` must be below `high` ({of.high}), got {of.low}")
