"""What tasks do with their arguments, and with actions."""

from typing import TypeVar

import jax.numpy as jnp

from memorax.core.types import Array

EntryT = TypeVar("EntryT")


def choose(difficulty: str, settings: dict[str, EntryT]) -> EntryT:
    """Look up the settings of a difficulty.

    Args:
        difficulty: "Easy", "Medium" or "Hard".
        settings: Settings by difficulty.

    Returns:
        The settings.

    Raises:
        ValueError: If there is no such difficulty.
    """
    if difficulty not in settings:
        raise ValueError(f"`difficulty` must be one of {', '.join(settings)}, got {difficulty!r}")
    return settings[difficulty]


def whole(name: str, value: int, least: int = 1, most: int | None = None) -> int:
    """Check an integer argument of a task.

    Args:
        name: Name of the argument, for the message.
        value: What was given.
        least: Smallest allowed value.
        most: Largest allowed value, None for any.

    Returns:
        The value.

    Raises:
        TypeError: If it is no integer.
        ValueError: If it is out of range.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"`{name}` must be an integer, got {value!r}")
    if value < least:
        raise ValueError(f"`{name}` must be at least {least}, got {value}")
    if most is not None and value > most:
        raise ValueError(f"`{name}` must be at most {most}, got {value}")
    return value


def clipped(action: Array, n: int) -> Array:
    """The nearest of the actions `0 .. n-1`, int32 scalar."""
    return jnp.clip(jnp.asarray(action), 0, n - 1).astype(jnp.int32)
