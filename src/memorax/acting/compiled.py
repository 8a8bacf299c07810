"""Methods that are compiled once per object, into programs that live as long as the object does."""

import functools
import inspect
import weakref
from collections.abc import Callable
from typing import Any, TypeVar, cast

import jax

from memorax.core.checks import check, integer, optional
from memorax.core.types import vary_alike

Method = TypeVar("Method", bound=Callable[..., Any])
_NUMBERS = ("num_steps", "num_episodes")
"""Arguments that decide about shapes, so that there is a program for each."""
_PROGRAMS = "_programs"


def compiled(method: Method) -> Method:
    """Compile a method once per object and numbers of steps or episodes; further calls trace nothing.

    The object's class is a `HoldsPrograms`.
    """
    signature = inspect.signature(method)
    kinds = {
        name: optional(integer()) if parameter.default is None else integer()
        for name, parameter in signature.parameters.items()
        if name in _NUMBERS
    }

    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(self, *args, **kwargs)
        bound.apply_defaults()
        _, *given = bound.arguments.items()
        numbers = tuple((name, check(name, value, kinds[name])) for name, value in given if name in kinds)
        arrays = {name: value for name, value in given if name not in kinds}
        return _program(self, method)(numbers, arrays)

    return cast(Method, call)


class HoldsPrograms:
    """An object that holds the programs of its `compiled` methods; copies and pickles of it are without them."""

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the programs: they are of this object alone."""
        return {name: value for name, value in self.__dict__.items() if name != _PROGRAMS}


def _program(owner: Any, method: Callable[..., Any]) -> Callable[..., Any]:
    programs: dict[Any, Callable[..., Any]] = owner.__dict__.setdefault(_PROGRAMS, {})
    if method not in programs:
        # JAX keeps what it has compiled, and what that refers to, for as long as the function lives.
        reference = weakref.ref(owner)

        def program(numbers: tuple[tuple[str, int | None], ...], arrays: dict[str, Any]) -> Any:
            arrays = vary_alike(arrays)
            return vary_alike(method(reference(), **arrays, **dict(numbers)), arrays)

        program.__name__ = program.__qualname__ = getattr(method, "__name__", "program")
        programs.setdefault(method, jax.jit(program, static_argnums=0))
    return programs[method]
