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
_STATIC = ("num_steps", "num_episodes")
_PROGRAMS = "_programs"


def compiled(method: Method) -> Method:
    """Compile a method once per object and numbers of steps or episodes; further calls trace nothing.

    The object's class is a `HoldsPrograms`.
    """
    signature = inspect.signature(method)
    names = list(signature.parameters)[1:]
    numbers = [name for name in _STATIC if name in names]

    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(self, *args, **kwargs)
        bound.apply_defaults()
        for name in numbers:
            bound.arguments[name] = check(name, bound.arguments[name], optional(integer()))
        return _program(self, method, [names.index(name) for name in numbers])(*bound.args[1:])

    return cast(Method, call)


class HoldsPrograms:
    """An object that holds the programs of its `compiled` methods; copies and pickles of it are without them."""

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the programs: they are of this object alone."""
        return {name: value for name, value in self.__dict__.items() if name != _PROGRAMS}


def _program(owner: Any, method: Callable[..., Any], static: list[int]) -> Callable[..., Any]:
    programs: dict[Any, Callable[..., Any]] = owner.__dict__.setdefault(_PROGRAMS, {})
    if method not in programs:
        # JAX keeps what it has compiled, and what that refers to, for as long as the function lives.
        reference = weakref.ref(owner)

        def program(*args: Any) -> Any:
            arrays = iter(vary_alike([x for i, x in enumerate(args) if i not in static]))
            given = [x if i in static else next(arrays) for i, x in enumerate(args)]
            return vary_alike(method(reference(), *given), [x for i, x in enumerate(given) if i not in static])

        program.__name__ = program.__qualname__ = getattr(method, "__name__", "program")
        programs.setdefault(method, jax.jit(program, static_argnums=static))
    return programs[method]
