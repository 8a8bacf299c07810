"""Registries of environments, memory models and algorithms by name."""

import difflib
import importlib.metadata
import warnings
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, Generic, TypeVar

T = TypeVar("T")

_SHOWN = 20
"""A message lists at most this many names in full."""


class Registry(Generic[T]):
    """A mapping from names to entries whose errors suggest the nearest names.

    Example:
        >>> models = Registry("memory model")
        >>> _ = models.register("gru", "a gated recurrent unit")
        >>> models.get("gruu")
        Traceback (most recent call last):
        ...
        ValueError: unknown memory model `gruu`; nearest: gru; known: gru
    """

    def __init__(
        self,
        kind: str,
        *,
        listing: str | None = None,
        plugins: str | None = None,
        adopt: Callable[[str, Any], object] | None = None,
    ) -> None:
        """Make an empty registry.

        Args:
            kind: What the entries are, in the singular, for the messages: `"memory model"`.
            listing: Command that shows all names, for messages that cannot: `"memorax list models"`.
            plugins: Group of entry points by which installed packages add entries: `"memorax.models"`. An entry point
                refers to a module, which registers its entries when it is imported, or to one entry, which is
                registered under the entry point's name. They are loaded when a name is not known, or by
                `load_plugins`.
            adopt: Registers what an entry point refers to; by default `register`.
        """
        self.kind, self.listing = kind, listing
        self._one = f"{'an' if kind[:1].lower() in 'aeiou' else 'a'} {kind}"
        self._plugins, self._adopt = plugins, adopt or self.register
        self._entries: dict[str, T] = {}

    def register(self, name: str, entry: T) -> T:
        """Add an entry under a new name.

        Args:
            name: A new name.
            entry: The entry.

        Returns:
            The entry.

        Raises:
            TypeError: If `name` is not a string.
            ValueError: If `name` is empty or taken.
        """
        if not isinstance(name, str):
            raise TypeError(f"`name` of {self._one} must be a string, got {name!r}")
        if not name.strip():
            raise ValueError(f"`name` of {self._one} must not be empty, got {name!r}")
        if name in self._entries:
            raise ValueError(f"`name` of {self._one} must be new, got `{name}`, which is registered; choose another")
        self._entries[name] = entry
        return entry

    def get(self, name: str) -> T:
        """Look up a name.

        Args:
            name: A registered name.

        Returns:
            The entry.

        Raises:
            ValueError: If nothing is registered under `name`; the message suggests near misses.
        """
        if name not in self._entries:
            self.load_plugins()
        if name in self._entries:
            return self._entries[name]
        raise ValueError(f"unknown {self.kind} `{name}`{suggest(str(name), self.names(), self.listing)}")

    def load_plugins(self) -> None:
        """Add the entries of installed packages, the first time that it is called.

        A package whose entry cannot be loaded causes a warning that names it; the others are loaded.
        """
        group, self._plugins = self._plugins, None
        for entry_point in () if group is None else importlib.metadata.entry_points(group=group):
            try:
                entry = entry_point.load()
                if not isinstance(entry, ModuleType):
                    self._adopt(entry_point.name, entry)
            except Exception as error:
                package = "unknown" if entry_point.dist is None else f"`{entry_point.dist.name}`"
                warnings.warn(
                    f"{self.kind} `{entry_point.name}` of the installed package {package} could not be loaded from "
                    f"`{entry_point.value}` ({type(error).__name__}: {error}); update or uninstall that package",
                    stacklevel=2,
                )

    def names(self) -> tuple[str, ...]:
        """All registered names, sorted."""
        return tuple(sorted(self._entries))

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names, sorted."""
        return iter(self.names())

    def __contains__(self, name: object) -> bool:
        """Whether the name is registered."""
        return name in self._entries

    def __len__(self) -> int:
        """The number of registered names."""
        return len(self._entries)


def nearest(name: str, known: tuple[str, ...]) -> list[str]:
    """At most three of the known names that are spelled most like a name, the nearest first."""
    by_folded = {other.lower(): other for other in known}
    return [by_folded[match] for match in difflib.get_close_matches(name.lower(), by_folded, n=3)]


def suggest(name: str, known: tuple[str, ...], command: str | None = None) -> str:
    """Complete a message about an unknown name.

    Args:
        name: The unknown name.
        known: The known names.
        command: The command that lists them all, named where they are too many for a message.

    Returns:
        `"; nearest: ...; known: ..."`, without the first part where nothing is near.
    """
    near = nearest(name, known)
    shown = list(known[:_SHOWN])
    if len(known) > _SHOWN:
        shown.append(f"... ({len(known)} in all{f'; `{command}` shows them' if command else ''})")
    near_ones = f"; nearest: {', '.join(near)}" if near else ""
    return f"{near_ones}; known: {', '.join(shown) if shown else 'none'}"
