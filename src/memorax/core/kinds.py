"""What the checks of `memorax.core.checks` are made of: a class for each kind of value."""

import math
import sys
from abc import ABC, abstractmethod
from collections import abc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, NoReturn, TypeVar, cast

import numpy as np

T = TypeVar("T")

_LONGEST_SHOWN = 80


@dataclass(frozen=True)
class Kind(ABC, Generic[T]):
    """What is allowed as a value; made by `integer`, `size`, `real`, `boolean`, `choice`, `instance` and `sequence`."""

    or_none: bool = False

    @abstractmethod
    def allowed(self) -> str:
        """What is allowed, in words that follow "must be"."""

    @abstractmethod
    def accept(self, name: str, value: Any) -> T:
        """Check a value that is not None; as `check`."""

    def refuse(self, error: type[Exception], name: str, value: Any, allowed: str, hint: str = "") -> NoReturn:
        """Raise an error that names the field, what is allowed and the value."""
        raise error(f"`{name}` must be {allowed}{' or None' if self.or_none else ''}, got {_shown(value)}{hint}")


def check(name: str, value: Any, kind: Kind[T]) -> T:
    """Check one argument.

    Args:
        name: The argument, for the message.
        value: What was given.
        kind: What is allowed.

    Returns:
        The value; a NumPy or JAX scalar as the Python value that it holds.

    Raises:
        TypeError: If it is of another type.
        ValueError: If it is out of range.
    """
    return cast(T, None) if value is None and kind.or_none else kind.accept(name, value)


@dataclass(frozen=True, kw_only=True)
class Integer(Kind[int]):
    """A whole number between two bounds, both included."""

    minimum: int | None
    maximum: int

    def allowed(self) -> str:
        """As it is told in messages."""
        return "an integer"

    def accept(self, name: str, value: Any) -> int:
        """Check a value; see `check`."""
        if _is_traced(value):
            self.refuse(TypeError, name, value, self.allowed(), "; a size must be known before tracing")
        number = _python(value)
        if isinstance(number, bool) or not isinstance(number, int):
            whole = isinstance(number, float) and number.is_integer()
            self.refuse(TypeError, name, value, self.allowed(), f"; write {int(number)}" if whole else "")
        if self.minimum is not None and number < self.minimum:
            self.refuse(ValueError, name, number, f"at least {self.minimum}")
        if number > self.maximum:
            self.refuse(ValueError, name, number, f"at most {self.maximum}")
        return number


@dataclass(frozen=True, kw_only=True)
class Real(Kind[float]):
    """A real number between bounds."""

    minimum: float | None
    maximum: float | None
    above: float | None
    below: float | None
    finite: bool

    def allowed(self) -> str:
        """As it is told in messages."""
        if self.minimum is not None and self.maximum is not None:
            return f"in [{self.minimum}, {self.maximum}]"
        bounds = {"at least": self.minimum, "above": self.above, "at most": self.maximum, "below": self.below}
        return " and ".join(f"{word} {bound}" for word, bound in bounds.items() if bound is not None) or "a number"

    def accept(self, name: str, value: Any) -> float:
        """Check a value; see `check`."""
        if _is_traced(value) and value.shape == () and value.dtype.kind in "iuf":
            return value
        number = _python(value)
        if isinstance(number, bool) or not isinstance(number, int | float):
            self.refuse(TypeError, name, value, "a number")
        inside = (
            (self.minimum is None or number >= self.minimum)
            and (self.maximum is None or number <= self.maximum)
            and (self.above is None or number > self.above)
            and (self.below is None or number < self.below)
        )
        if not inside:
            self.refuse(ValueError, name, number, self.allowed())
        if isinstance(number, float) and (math.isnan(number) or (self.finite and math.isinf(number))):
            self.refuse(ValueError, name, number, "finite" if self.finite else "a number")
        return number


@dataclass(frozen=True)
class Boolean(Kind[bool]):
    """True or False."""

    def allowed(self) -> str:
        """As it is told in messages."""
        return "True or False"

    def accept(self, name: str, value: Any) -> bool:
        """Check a value; see `check`."""
        answer = value if _is_traced(value) else _python(value)
        if not isinstance(answer, bool):
            self.refuse(TypeError, name, value, self.allowed())
        return answer


@dataclass(frozen=True, kw_only=True)
class Choice(Kind[Any]):
    """One of a few values."""

    options: tuple[Any, ...]

    def allowed(self) -> str:
        """As it is told in messages."""
        return f"one of {', '.join(str(option) for option in self.options)}"

    def accept(self, name: str, value: Any) -> Any:
        """Check a value; see `check`."""
        same_type = [option for option in self.options if type(option) is type(value)]
        if value not in same_type:
            self.refuse(ValueError if same_type else TypeError, name, value, self.allowed())
        return value


@dataclass(frozen=True, kw_only=True)
class Instance(Kind[Any]):
    """An object of one of some classes."""

    types: tuple[type, ...]
    called: str | None

    def allowed(self) -> str:
        """As it is told in messages."""
        return self.called or f"an instance of {' or '.join(cls.__name__ for cls in self.types)}"

    def accept(self, name: str, value: Any) -> Any:
        """Check a value; see `check`."""
        if not isinstance(value, self.types):
            is_class = isinstance(value, type) and issubclass(value, self.types)
            hint = f"; write `{value.__name__}(...)`, an object of the class" if is_class else ""
            self.refuse(TypeError, name, value, self.allowed(), hint)
        return value


@dataclass(frozen=True)
class FloatingType(Kind[Any]):
    """A floating-point dtype, as JAX or NumPy name it."""

    def allowed(self) -> str:
        """As it is told in messages."""
        return "a floating-point type such as jnp.bfloat16"

    def accept(self, name: str, value: Any) -> Any:
        """Check a value; see `check`."""
        try:
            # The dtypes of 16 and 8 bits that NumPy lacks count as void there.
            is_floating = not isinstance(value, int | float | None) and np.dtype(value).kind in "fV"
        except TypeError:
            is_floating = False
        if not is_floating:
            self.refuse(TypeError, name, value, self.allowed())
        return value


@dataclass(frozen=True)
class Function(Kind[Callable[..., Any]]):
    """Something that can be called."""

    def allowed(self) -> str:
        """As it is told in messages."""
        return "callable"

    def accept(self, name: str, value: Any) -> Callable[..., Any]:
        """Check a value; see `check`."""
        if not callable(value):
            self.refuse(TypeError, name, value, self.allowed())
        return value


@dataclass(frozen=True, kw_only=True)
class Numbers(Kind[np.ndarray]):
    """An array of finite numbers."""

    minimum: float | None

    def allowed(self) -> str:
        """As it is told in messages."""
        return "a number or an array of numbers"

    def accept(self, name: str, value: Any) -> np.ndarray:
        """Check a value; see `check`."""
        try:
            array = np.asarray(value)
        except (TypeError, ValueError):  # lists of different lengths, for instance
            self.refuse(TypeError, name, value, self.allowed())
        if array.dtype.kind not in "iufV":
            self.refuse(TypeError, name, value, self.allowed())
        array = array.astype(np.float32)
        if not np.isfinite(array).all():
            self.refuse(ValueError, name, value, "finite")
        if self.minimum is not None and (array < self.minimum).any():
            self.refuse(ValueError, name, value, f"at least {self.minimum}")
        return array


@dataclass(frozen=True, kw_only=True)
class Sequence(Kind[tuple[Any, ...]]):
    """A list or tuple of values of one kind."""

    of: Kind[Any]
    empty: bool

    def allowed(self) -> str:
        """As it is told in messages."""
        return f"a sequence, each entry {self.of.allowed()}"

    def accept(self, name: str, value: Any) -> tuple[Any, ...]:
        """Check a value; see `check`."""
        if isinstance(value, str) or not isinstance(value, abc.Sequence):
            hint = f"; write ({value!r},) for one" if isinstance(value, int | float | str) else ""
            self.refuse(TypeError, name, value, self.allowed(), hint)
        if not value and not self.empty:
            raise ValueError(f"`{name}` must not be empty, got {value!r}")
        return tuple(check(name, entry, self.of) for entry in value)


def _is_traced(value: Any) -> bool:
    """Whether JAX is tracing the value; nothing is where JAX was not imported."""
    jax = sys.modules.get("jax")
    return jax is not None and isinstance(value, jax.core.Tracer)


def _python(value: Any) -> Any:
    """A NumPy or JAX scalar, or an array of shape (), as the Python value that it holds; anything else as it is."""
    is_scalar = getattr(value, "shape", None) == () and hasattr(value, "dtype") and hasattr(value, "item")
    return value.item() if is_scalar and value.dtype.kind in "biufV" else value


def _shown(value: Any) -> str:
    if getattr(value, "shape", ()) != ():
        return f"an array of shape {value.shape}"
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."
