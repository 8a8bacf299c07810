"""Checks of configuration fields; each message names the field, its value and what is allowed."""

from typing import Any

import numpy as np


def at_least(config: Any, field: str, minimum: float) -> None:
    """Refuse a field below a minimum.

    Raises:
        ValueError: It is.
    """
    value = getattr(config, field)
    if not value >= minimum:
        raise ValueError(f"`{field}` must be at least {minimum}, got {value}")


def whole(config: Any, field: str, minimum: int) -> None:
    """Refuse a field that is no integer, or below a minimum.

    Raises:
        TypeError: It is no integer; a boolean is none.
        ValueError: It is below the minimum.
    """
    value = getattr(config, field)
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"`{field}` must be an integer, got {value!r}")
    at_least(config, field, minimum)


def between(config: Any, field: str, low: float, high: float) -> None:
    """Refuse a field outside a closed interval.

    Raises:
        ValueError: It is.
    """
    value = getattr(config, field)
    if not low <= value <= high:
        raise ValueError(f"`{field}` must be in [{low}, {high}], got {value}")


def divides(divisor: tuple[str, int], number: tuple[str, int], why: str) -> None:
    """Refuse a divisor that leaves a remainder.

    Args:
        divisor: Name and value.
        number: Name and value.
        why: For whom they must divide, `recurrent networks`.

    Raises:
        ValueError: It does.
    """
    if number[1] % divisor[1]:
        allowed = [str(d) for d in range(1, number[1] + 1) if number[1] % d == 0]
        nearest = sorted(allowed, key=lambda d: abs(int(d) - divisor[1]))[:2]
        pair = f"`{divisor[0]}` ({divisor[1]}) must divide `{number[0]}` ({number[1]})"
        raise ValueError(f"{pair} for {why}; try {' or '.join(nearest)}")
