"""Networks that can be pickled and deep-copied: jitted functions by their name, modules by their class and fields."""

import copy
import copyreg
import dataclasses
import operator
import sys
import weakref
from typing import Any, cast

import flax.linen as nn
import jax


class Picklable:
    """A base of Flax modules that `pickle` can store, and all modules inside.

    A field that has its default value is left out, because many defaults (initializers) are local functions, which
    `pickle` refuses. A module that is part of several is stored once.
    """

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Store the class and the fields."""
        del protocol
        return _build, (type(self), _stored_fields(self))

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        """Copy all that belongs to the object; parts that several objects share stay shared."""
        copied = memo[id(self)] = object.__new__(type(self))
        for name, value in vars(self).items():
            object.__setattr__(copied, name, copy.deepcopy(value, memo))
        return copied


class _Stored:
    """A module as it is pickled; unpickled it is the module."""

    def __init__(self, module: nn.Module) -> None:
        self.cls, self.fields = type(module), _stored_fields(module)

    def __reduce__(self) -> Any:
        return _build, (self.cls, self.fields)


_STORED: "weakref.WeakValueDictionary[int, _Stored]" = weakref.WeakValueDictionary()
"""By the identity of the module: a pickler sees the same object wherever the module is part of something."""


def _stored_fields(module: Any) -> dict[str, Any]:
    fields = {field.name: field for field in dataclasses.fields(module) if field.init and field.name != "parent"}
    values = {name: getattr(module, name) for name in fields}
    return {name: _stored(value) for name, value in values.items() if value is not fields[name].default}


def _stored(value: Any) -> Any:
    if isinstance(value, nn.Module):
        stored = _STORED.get(id(value))
        if stored is None:
            stored = _STORED[id(value)] = _Stored(value)
        return stored
    if type(value) in (tuple, list):
        return type(value)(_stored(entry) for entry in value)
    return {name: _stored(entry) for name, entry in value.items()} if type(value) is dict else value


def _build(cls: type[Any], fields: dict[str, Any]) -> Any:
    return cls(**fields)


def _named(function: Any) -> Any:
    """Reduce a jitted function to its name, as Python does it for plain functions, where a module has it by a name."""
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    try:
        known = operator.attrgetter(cast(str, name))(sys.modules[cast(str, module)])
    except (AttributeError, KeyError, TypeError):
        known = None
    return name if known is function else function.__reduce_ex__(4)


for _kind in (type(jax.jit(lambda: None)), jax.custom_jvp):
    copyreg.pickle(_kind, _named)
