"""Spaces made of other spaces."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from memorax.core.spaces.base import Space
from memorax.core.types import Array, Key, PyTree


def _require_space(owner: str, name: Any, space: Any) -> Space:
    if not isinstance(space, Space):
        raise TypeError(f"`spaces` of {owner} must hold spaces, got {space!r} at {name!r}")
    return space


class Dict(Space):
    """Dictionaries with a space for every key."""

    spaces: dict[str, Space]

    def __init__(self, spaces: Mapping[str, Space]) -> None:
        """Describe the space.

        Args:
            spaces: A space for every key, at least one.

        Raises:
            TypeError: If `spaces` is not a mapping to spaces.
            ValueError: If `spaces` is empty.
        """
        if not isinstance(spaces, Mapping):
            raise TypeError(f"`spaces` of Dict must be a mapping, got {type(spaces).__name__}")
        if not spaces:
            raise ValueError("`spaces` of Dict must not be empty, got {}")
        # Sorted, because that is the order in which JAX visits a dictionary.
        parts = {name: _require_space("Dict", name, spaces[name]) for name in sorted(spaces)}
        shape, dtype = ({name: getattr(part, field) for name, part in parts.items()} for field in ("shape", "dtype"))
        self._set(spaces=parts, shape=shape, dtype=dtype)

    def sample(self, key: Key) -> dict[str, PyTree]:
        """Draw from every part."""
        keys = jax.random.split(key, len(self.spaces))
        return {name: space.sample(k) for (name, space), k in zip(self.spaces.items(), keys, strict=True)}

    def contains(self, x: PyTree) -> Array:
        """Whether `x` has exactly these keys and every value is in its space."""
        if not isinstance(x, Mapping) or set(x) != set(self.spaces):
            return jnp.asarray(False)
        return jnp.all(jnp.stack([space.contains(x[name]) for name, space in self.spaces.items()]))

    def __getitem__(self, name: str) -> Space:
        """The space of one key."""
        return self.spaces[name]

    def _identity(self) -> tuple[Any, ...]:
        return tuple(self.spaces.items())

    def __repr__(self) -> str:
        """The expression that creates it."""
        return f"Dict({self.spaces})"


class Tuple(Space):
    """Tuples with a space for every entry."""

    spaces: tuple[Space, ...]

    def __init__(self, spaces: Sequence[Space]) -> None:
        """Describe the space.

        Args:
            spaces: A space for every entry, at least one.

        Raises:
            TypeError: If `spaces` is not a sequence of spaces.
            ValueError: If `spaces` is empty.
        """
        if not isinstance(spaces, Sequence):
            raise TypeError(f"`spaces` of Tuple must be a sequence, got {type(spaces).__name__}")
        if not spaces:
            raise ValueError("`spaces` of Tuple must not be empty, got ()")
        parts = tuple(_require_space("Tuple", i, space) for i, space in enumerate(spaces))
        self._set(spaces=parts, shape=tuple(p.shape for p in parts), dtype=tuple(p.dtype for p in parts))

    def sample(self, key: Key) -> tuple[PyTree, ...]:
        """Draw from every part."""
        keys = jax.random.split(key, len(self.spaces))
        return tuple(space.sample(k) for space, k in zip(self.spaces, keys, strict=True))

    def contains(self, x: PyTree) -> Array:
        """Whether `x` is a tuple of this length with every entry in its space."""
        if not isinstance(x, tuple) or len(x) != len(self.spaces):
            return jnp.asarray(False)
        return jnp.all(jnp.stack([space.contains(part) for space, part in zip(self.spaces, x, strict=True)]))

    def __iter__(self) -> Iterator[Space]:
        """Iterate over the parts."""
        return iter(self.spaces)

    def _identity(self) -> tuple[Any, ...]:
        return self.spaces

    def __repr__(self) -> str:
        """The expression that creates it."""
        return f"Tuple({list(self.spaces)})"
