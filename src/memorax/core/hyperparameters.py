"""Hyperparameters as data: the real numbers of a configuration are arrays in the state of a run.

A program is compiled for any values, so that settings can be mapped over, scheduled and changed without compiling it
again. `train` and its like begin by binding: they copy the agent with the values of the state in the place of those in
its configuration, so that the rest still reads `config.gamma`.

Whole numbers, booleans and strings decide about the program and stay what they are, and so does None: a `target_kl` of
None is a program without early stopping. A configuration can name further fields that decide about the program, because
code asks `if` of them or networks are built from them, in a class variable `static`.
"""

import copy
import dataclasses
import functools
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, Protocol, Self, TypeAlias, TypeVar

import jax.numpy as jnp

from memorax.core.types import Array, weak

Values: TypeAlias = Mapping[str, Any]
"""Hyperparameters by name: numbers, or float32 arrays `[]`."""
T = TypeVar("T")


class Adjustable(Protocol):
    """A part of an agent that holds hyperparameters: an optimizer, a schedule, the agent of one player."""

    def hyperparameters(self) -> dict[str, float]:
        """Give the numbers it was made with, by name."""
        ...

    def with_hyperparameters(self, values: Values) -> Self:
        """Copy it with other numbers, which may be traced; names that it does not have are left out."""
        ...


@functools.cache
def real_fields(cls: type) -> tuple[str, ...]:
    """Name the fields of a dataclass that hold a real number, or None."""
    hints = typing.get_type_hints(cls)
    return tuple(field.name for field in dataclasses.fields(cls) if _is_real(hints[field.name]))


def _is_real(hint: Any) -> bool:
    choices = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    return float in choices and set(choices) <= {float, types.NoneType}


def config_values(config: Any) -> dict[str, float]:
    """Give the real numbers of a configuration, without those that decide about the program."""
    if not dataclasses.is_dataclass(config) or isinstance(config, type):
        return {}
    names = [name for name in real_fields(type(config)) if name not in getattr(config, "static", ())]
    return {name: getattr(config, name) for name in names if getattr(config, name) is not None}


def bind_config(config: T, values: Values) -> T:
    """Copy a configuration with other numbers, which are not checked again and may be traced."""
    bound = copy.copy(config)
    # In the order of the fields: that of a set differs from process to process, and would make each compile anew.
    for name in config_values(config):
        if name in values:
            object.__setattr__(bound, name, weak(values[name]))
    return bound


def bind_part(part: Any, values: Values) -> Any:
    """Copy a part of an agent with other numbers, or a dictionary of parts; anything else is left as it is."""
    if isinstance(part, dict):
        return {name: bind_part(entry, values) for name, entry in part.items()}
    return part.with_hyperparameters(values) if _is_adjustable(part) else part


def part_values(part: Any) -> dict[str, float]:
    """Give the numbers that a part of an agent was made with; none where it is not adjustable."""
    parts = part.values() if isinstance(part, dict) else (part,)
    return {name: value for x in parts if _is_adjustable(x) for name, value in x.hyperparameters().items()}


def as_arrays(values: Values) -> dict[str, Array]:
    """Make the arrays that a state holds, float32 `[]`."""
    return {name: jnp.asarray(value, jnp.float32) for name, value in values.items()}


def replaced(old: Mapping[str, Array], values: Values) -> dict[str, Array]:
    """Put other values among the hyperparameters of a state.

    Args:
        old: The hyperparameters, each `[]`, or `[seeds]` in a state of several seeds.
        values: New ones by name; a number is that of all seeds.

    Raises:
        ValueError: There is no such hyperparameter.
    """
    for name in values:
        if name not in old:
            known = ", ".join(sorted(old)) or "none"
            raise ValueError(f"`{name}` must be a hyperparameter of the state, got none of that name; these: {known}")
    new = {name: jnp.asarray(value, jnp.float32) for name, value in values.items()}
    return {**old, **{name: jnp.broadcast_to(value, old[name].shape) for name, value in new.items()}}


@dataclasses.dataclass(frozen=True)
class FromConfig:
    """A function of something that the numbers of a configuration decide about, such as a schedule of epsilon.

    Attributes:
        function: `function(config, *arguments)`.
        config: The configuration.
    """

    function: Callable[..., Any]
    config: Any

    def __call__(self, *arguments: Any) -> Any:
        """Call the function with the present configuration."""
        return self.function(self.config, *arguments)

    def hyperparameters(self) -> dict[str, float]:
        """Give none: they are the agent's, whose configuration it is."""
        return {}

    def with_hyperparameters(self, values: Values) -> Self:
        """Copy it with a configuration of other numbers."""
        return dataclasses.replace(self, config=bind_config(self.config, values))


def _is_adjustable(part: Any) -> bool:
    return hasattr(part, "with_hyperparameters") and not isinstance(part, type)
