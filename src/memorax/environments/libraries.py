"""Adapters of other libraries by namespace, and what their modules offer."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from memorax.core.registry import Registry
from memorax.environments.missing import MissingExtraError

LIBRARIES = (
    "ale",
    "brax",
    "craftax",
    "envpool",
    "gymnasium",
    "gymnax",
    "jaxmarl",
    "jumanji",
    "minigrid",
    "navix",
    "nle",
    "pgx",
    "playground",
    "popgym",
    "popgym_arcade",
    "xminigrid",
)
"""Libraries with an adapter: their namespaces, the modules in `adapters`, and, with hyphens, the extras."""


@dataclass(frozen=True)
class Adapter:
    """What makes the environments of another library.

    Attributes:
        source: The name of a module, imported when first needed, with a function `make(name, **kwargs)`, or such a
            function. It returns an environment or `(environment, params)`. The module may also have a function
            `names()` that returns the names of the library's environments, for suggestions.
        extra: What to install where the library is missing, as `pip install` takes it.
    """

    source: str | Callable[..., Any]
    extra: str | None


ADAPTERS: Registry[Adapter] = Registry("adapter")
"""Adapters of other libraries by namespace."""


def adapter_make(namespace: str) -> Callable[..., Any]:
    """The function that makes the environments of a library.

    Raises:
        MissingExtraError: If the library is not installed.
        TypeError: If the adapter's module has no such function.
    """
    adapter = ADAPTERS.get(namespace)
    if not isinstance(adapter.source, str):
        return adapter.source
    module = _import(namespace, adapter.source, adapter.extra)
    if not callable(getattr(module, "make", None)):
        raise TypeError(f"`{adapter.source}` must have a function `make(name, **kwargs)` to adapt `{namespace}`")
    return module.make


def _import(namespace: str, source: str, extra: str | None) -> Any:
    try:
        return importlib.import_module(source)
    except ModuleNotFoundError as error:
        # A misspelt name of the adapter itself is not a missing library.
        if extra is None or source.startswith(str(error.name)):
            raise
        raise MissingExtraError(namespace, extra) from error


def library_names() -> dict[str, tuple[str, ...]]:
    """Names of the environments of all libraries that are installed, by namespace; imports each of them."""
    return {namespace: names for namespace in ADAPTERS if (names := names_of(namespace))}


def names_of(namespace: str) -> tuple[str, ...]:
    """Names of a library's environments; none where it is not installed or does not tell."""
    adapter = ADAPTERS.get(namespace)
    if not isinstance(adapter.source, str):
        return ()
    try:
        module = importlib.import_module(adapter.source)
    except ImportError:
        return ()
    return tuple(module.names()) if hasattr(module, "names") else ()
