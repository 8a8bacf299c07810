"""The one way to check what a constructor is given: whole numbers, real numbers, booleans, choices, sequences.

A *kind* says what is allowed. A frozen dataclass names the kind of each of its fields once::

    @dataclass(frozen=True)
    class MyConfig:
        num_envs: int = 8
        gamma: float = 0.99
        target_kl: float | None = None
        normalize_advantage: bool = True

        def __post_init__(self) -> None:
            check_fields(
                self,
                num_envs=size(),
                gamma=real(0, 1),
                target_kl=optional(real(above=0)),
                normalize_advantage=boolean(),
            )

and a function checks an argument with `length = check("length", length, integer(1))`. Both keep the checked value, in
which NumPy and JAX scalars have become the Python values that they hold. Every message names the field, what is allowed
and the value: `TypeError` for a value of another type, `ValueError` for one out of range.
"""

import math
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from memorax.core.kinds import (
    Boolean,
    Choice,
    FloatingType,
    Function,
    Instance,
    Integer,
    Kind,
    Numbers,
    Real,
    Sequence,
    check,
)

T = TypeVar("T")

_MOST_DIVISORS_TRIED = 100_000


def check_fields(config: Any, **kinds: Kind[Any]) -> None:
    """Check fields of a dataclass, frozen ones too, and keep the checked values.

    Args:
        config: The object.
        **kinds: What is allowed, by the name of the field.

    Raises:
        TypeError: If a field is of another type.
        ValueError: If a field is out of range.
    """
    for name, kind in kinds.items():
        value = getattr(config, name)
        checked = check(name, value, kind)
        if checked is not value:
            object.__setattr__(config, name, checked)


def optional(kind: Kind[T]) -> Kind[T | None]:
    """The same kind, or None."""
    return replace(kind, or_none=True)  # type: ignore[return-value]


def integer(minimum: int | None = None, maximum: int = 2**63 - 1) -> Kind[int]:
    """A whole number; booleans and floats are refused.

    Args:
        minimum: Smallest allowed value; None for any.
        maximum: Largest allowed value; by default the largest 64-bit integer.
    """
    return Integer(minimum=minimum, maximum=maximum)


def size(minimum: int = 1) -> Kind[int]:
    """A length of an array's axis: a whole number from `minimum` (1) to 2^31 - 1, which JAX can index."""
    return Integer(minimum=minimum, maximum=2**31 - 1)


def steps(minimum: int = 1) -> Kind[int]:
    """A number of steps in an episode: from `minimum` to 2^30, so that the sum of two still fits 32 bits."""
    return Integer(minimum=minimum, maximum=2**30)


def real(
    minimum: float | None = None,
    maximum: float | None = None,
    *,
    above: float | None = None,
    below: float | None = None,
    finite: bool = True,
) -> Kind[float]:
    """A real number, integers included; booleans are refused, and NaN.

    A traced JAX scalar passes: its bounds cannot be checked.

    Args:
        minimum: Smallest allowed value.
        maximum: Largest allowed value.
        above: Bound that the value must exceed.
        below: Bound that the value must stay below.
        finite: Whether infinity is refused.
    """
    return Real(minimum=minimum, maximum=maximum, above=above, below=below, finite=finite)


def boolean() -> Kind[bool]:
    """True or False; nothing else counts as either, not 0, 1 or "false"."""
    return Boolean()


def choice(*options: T) -> Kind[T]:
    """One of a few values, usually strings."""
    return Choice(options=options)


def instance(*types: type[T], called: str | None = None) -> Kind[T]:
    """An object of one of some classes; the class itself is refused.

    Args:
        *types: The classes.
        called: What such an object is called in the message; by default the names of the classes.
    """
    return Instance(types=types, called=called)


def floating() -> Kind[Any]:
    """A floating-point dtype, such as `jnp.float32` or `"bfloat16"`."""
    return FloatingType()


def function() -> Kind[Any]:
    """A function, or anything else that can be called."""
    return Function()


def numbers(minimum: float | None = None) -> Kind[np.ndarray]:
    """A number, or an array or nested list of finite numbers; kept as a float32 array.

    Args:
        minimum: Smallest allowed value.
    """
    return Numbers(minimum=minimum)


def sequence(of: Kind[T], *, empty: bool = False) -> Kind[tuple[T, ...]]:
    """A list or tuple, kept as a tuple; a string is refused.

    Args:
        of: What is allowed as an entry.
        empty: Whether it may be empty.
    """
    return Sequence(of=of, empty=empty)


def divides(divisor: tuple[str, int], number: tuple[str, int], why: str) -> None:
    """Refuse a divisor that leaves a remainder.

    Args:
        divisor: Name and value, at least 1.
        number: Name and value, at least 1.
        why: For whom they must divide, `recurrent networks`.

    Raises:
        ValueError: It does; the message names the nearest divisors.
    """
    if number[1] % divisor[1]:
        nearest = sorted(_divisors(number[1]), key=lambda d: abs(d - divisor[1]))[:2]
        pair = f"`{divisor[0]}` ({divisor[1]}) must divide `{number[0]}` ({number[1]})"
        raise ValueError(f"{pair} for {why}; try {' or '.join(str(d) for d in nearest)}")


def _divisors(number: int) -> list[int]:
    """The divisors in ascending order; of a number above 10^10 only those found with factors up to 10^5."""
    small = [d for d in range(1, min(math.isqrt(number), _MOST_DIVISORS_TRIED) + 1) if number % d == 0]
    return small + [number // d for d in reversed(small) if d * d != number]


def check_broadcast(name: str, value: np.ndarray, shape: tuple[int, ...]) -> None:
    """Check that an array broadcasts to a shape.

    Args:
        name: Name of the argument, for the message.
        value: What was given.
        shape: What it must broadcast to.

    Raises:
        ValueError: If it does not.
    """
    axes = len(shape) - value.ndim
    if axes < 0 or any(size not in (1, full) for size, full in zip(value.shape, shape[axes:], strict=True)):
        raise ValueError(f"`{name}` must broadcast to the observation's shape {shape}, got shape {value.shape}")
