"""What the cells of memory models are made of: a configuration, given whole or by its fields."""

import dataclasses
import inspect
from typing import TYPE_CHECKING, Any

import flax.linen as nn
import jax.numpy as jnp

from memorax.core.types import Array


class ConfiguredModule(nn.Module):
    """A module whose only field is a configuration.

    Where a subclass says `config: LRUConfig`, `LRUCell(LRUConfig(features=64))`, `LRUCell(features=64)` and
    `LRUCell(config=LRUConfig(features=64))` are the same.

    Attributes:
        config: A frozen dataclass with a default for every field.
    """

    config: Any = None

    if TYPE_CHECKING:

        def __init__(self, config: Any = None, **fields: Any) -> None:
            """Take a configuration, or its fields.

            Raises:
                TypeError: If both are given, a field is unknown, or `config` is something else.
            """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Let the subclass's constructor take the fields of its configuration."""
        super().__init_subclass__(**kwargs)
        kind = inspect.get_annotations(cls).get("config")
        if kind is None:
            return
        generated = cls.__init__
        modules = {field.name for field in dataclasses.fields(cls)} - {"config"}

        def construct(self: Any, config: Any = None, **fields: Any) -> None:
            own = {name: fields.pop(name) for name in modules & fields.keys()}
            generated(self, config=_configure(cls.__name__, kind, config, fields), **own)

        construct.__doc__ = generated.__doc__
        cls.__init__ = construct


def _configure(cell: str, kind: type, config: Any, fields: dict[str, Any]) -> Any:
    """Make the configuration of what was given."""
    known = [field.name for field in dataclasses.fields(kind)]
    unknown = [name for name in fields if name not in known]
    if unknown:
        raise TypeError(f"`{unknown[0]}` is no field of `{cell}`; it has: {', '.join(known)}")
    if config is None:
        return kind(**fields)
    if fields:
        raise TypeError(f"`{cell}` takes `config` or the fields of {kind.__name__}, got both; leave one of them out")
    if not isinstance(config, kind):
        raise TypeError(f"`config` of `{cell}` must be a {kind.__name__}, got {config!r}")
    return config


def wide(x: Array) -> Array:
    """What recurrences, gates and norms compute in: at least float32, whatever the activations are kept in."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))
