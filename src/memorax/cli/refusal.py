"""Requests that a command turns down, and the exit codes of `memorax`."""

import difflib
from collections.abc import Callable, Iterable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

FAILED, REFUSED = 1, 2
"""Exit codes: an error while working; a request that cannot be carried out."""


class Refusal(Exception):  # noqa: N818  it is not an error of the program
    """A request cannot be carried out; the message says why and what to do."""


def refusing(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call a function that checks a request, and turn its errors into a refusal.

    Raises:
        Refusal: The function raised an error that a different request would avoid.
    """
    try:
        return function(*args, **kwargs)
    except (ValueError, TypeError, ImportError, FileNotFoundError) as error:
        raise Refusal(str(error)) from error


def choose(kind: str, name: str, known: Iterable[str]) -> str:
    """Check that a name is one of a few; the registry does the same, but only after JAX is imported.

    Raises:
        Refusal: It is not; the message suggests near misses.
    """
    names = list(known)
    if name in names:
        return name
    near = difflib.get_close_matches(name, names)
    nearest = f"; nearest: {', '.join(near)}" if near else ""
    raise Refusal(f"unknown {kind} `{name}`{nearest}; known: {', '.join(names)}")
