"""Modules with a configuration as their only field, which the constructor takes whole or by its fields."""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any, ClassVar, Generic, ParamSpec, TypeVar, cast, overload

import flax.linen as nn
import jax.numpy as jnp

from memorax.core.types import Array

P = ParamSpec("P")
C = TypeVar("C")


class Constructor(Generic[P, C]):
    """What type checkers see as the constructor of a `ConfiguredModule`, which puts the real one in its place."""

    def __init__(self, kind: Callable[P, C]) -> None:
        self.kind = kind

    @overload
    def __call__(self, config: C, *, name: str | None = None, parent: Any = None) -> None: ...

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> None: ...

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        """Take a configuration, or its fields."""
        raise NotImplementedError


def configured_by(kind: Callable[P, C]) -> Callable[[Callable[..., None]], Constructor[P, C]]:
    """Let the constructor of a `ConfiguredModule` take a configuration, or its fields as keywords.

    Args:
        kind: The configuration, a frozen dataclass with a default for every field.

    Returns:
        A decorator of `__init__`, whose body is not used.
    """
    return lambda _: Constructor(kind)


class ConfiguredModule(nn.Module):
    """A module whose only field is a configuration.

    `LRUCell(LRUConfig(features=64))`, `LRUCell(config=LRUConfig(features=64))` and `LRUCell(features=64)` build the
    same module where the class has::

        config: LRUConfig = LRUConfig()

        @configured_by(LRUConfig)
        def __init__(self) -> None: ...

    With these lines type checkers and `inspect.signature` know the fields too.

    Attributes:
        config: A frozen dataclass with a default for every field.
    """

    config: Any = None
    configuration: ClassVar[type[Any] | None] = None
    """The class of `config`."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Make the constructor."""
        declared = cls.__dict__.get("__init__")
        if isinstance(declared, Constructor):
            cls.configuration = cast(type[Any], declared.kind)
            del cls.__init__
        super().__init_subclass__(**kwargs)
        if cls.configuration is not None:
            type.__setattr__(cls, "__init__", _constructor(cls, cls.configuration))


def _constructor(cls: type[nn.Module], kind: type[Any]) -> Callable[..., None]:
    """The constructor that Flax generated for `cls`, with the fields of `kind` as further keywords."""
    generated = cls.__init__
    own = {field.name for field in dataclasses.fields(cast(Any, cls))} - {"config"}  # Flax's `name` and `parent`

    @functools.wraps(generated)
    def construct(self: Any, config: Any = None, **fields: Any) -> None:
        others = {name: fields.pop(name) for name in own & fields.keys()}
        generated(self, config=_configure(cls.__name__, kind, config, fields), **others)

    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [
        inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD),
        inspect.Parameter("config", inspect.Parameter.POSITIONAL_OR_KEYWORD, default=None, annotation=kind | None),
        *(parameter.replace(kind=keyword) for parameter in inspect.signature(kind).parameters.values()),
        inspect.Parameter("name", keyword, default=None, annotation=str | None),
    ]
    cast(Any, construct).__signature__ = inspect.Signature(parameters)
    return construct


def _configure(cell: str, kind: type, config: Any, fields: dict[str, Any]) -> Any:
    """Make the configuration of what a constructor was given."""
    known = inspect.signature(kind).parameters
    unknown = [name for name in fields if name not in known]
    if unknown:
        raise TypeError(f"`{unknown[0]}` is not a field of `{cell}`; its fields are: {', '.join(known)}")
    if config is None:
        return kind(**fields)
    if fields:
        raise TypeError(f"`{cell}` takes `config` or the fields of {kind.__name__}, got both; leave one of them out")
    if not isinstance(config, kind):
        raise TypeError(f"`config` of `{cell}` must be a {kind.__name__}, got {config!r}")
    return config


def wide(x: Array) -> Array:
    """The type that recurrences, gates and norms are computed in: float32, or what is wider."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))
