"""Names that stand for things: environments, memory models, algorithms."""

import difflib
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")

_SHOWN = 20
"""A message lists at most this many names in full."""


class Registry(Generic[T]):
    """A mapping from names to entries that helps when a name is misspelt.

    Example:
        >>> models = Registry("memory model")
        >>> _ = models.register("gru", "a gated recurrent unit")
        >>> models.get("gruu")
        Traceback (most recent call last):
        ...
        ValueError: unknown memory model `gruu`; nearest: gru; known: gru
    """

    def __init__(self, kind: str) -> None:
        """Make an empty registry.

        Args:
            kind: What the entries are, in the singular, for the messages: `"memory model"`.
        """
        self.kind = kind
        self._entries: dict[str, T] = {}

    def register(self, name: str, entry: T) -> T:
        """Add an entry under a new name.

        Args:
            name: A name that is not taken.
            entry: What the name stands for.

        Returns:
            The entry.

        Raises:
            TypeError: If `name` is not a string.
            ValueError: If `name` is empty or taken.
        """
        if not isinstance(name, str):
            raise TypeError(f"`name` of a {self.kind} must be a string, got {name!r}")
        if not name.strip():
            raise ValueError(f"`name` of a {self.kind} must not be empty, got {name!r}")
        if name in self._entries:
            raise ValueError(f"`name` of a {self.kind} must be new, got `{name}`, which is registered; choose another")
        self._entries[name] = entry
        return entry

    def get(self, name: str) -> T:
        """Look a name up.

        Args:
            name: A registered name.

        Returns:
            The entry.

        Raises:
            ValueError: If nothing is registered under `name`; the message suggests near misses.
        """
        if name in self._entries:
            return self._entries[name]
        raise ValueError(f"unknown {self.kind} `{name}`{suggest(str(name), self.names())}")

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
        """How many names are registered."""
        return len(self._entries)


def suggest(name: str, known: tuple[str, ...]) -> str:
    """Word the end of a message about a name that is not known.

    Args:
        name: What was asked for.
        known: What there is.

    Returns:
        `"; nearest: ...; known: ..."`, without the first part where nothing is near.
    """
    by_folded = {other.lower(): other for other in known}
    near = [by_folded[match] for match in difflib.get_close_matches(name.lower(), by_folded, n=3)]
    shown = list(known[:_SHOWN])
    if len(known) > _SHOWN:
        shown.append(f"... ({len(known)} in all)")
    nearest = f"; nearest: {', '.join(near)}" if near else ""
    return f"{nearest}; known: {', '.join(shown) if shown else 'none'}"
