"""Second names of arguments: what published code writes stays valid where the house has one word for a thing."""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, Protocol, TypeVar, cast, overload

from memorax.core.checks import check, size

P = ParamSpec("P")
C = TypeVar("C")
M = TypeVar("M")
M_co = TypeVar("M_co", covariant=True)

_DEFAULT: Any = object()
"""Marks an argument that was not given, where None is not allowed."""


class _Synonym:
    """Reads another field."""

    def __init__(self, of: str) -> None:
        self.of = of

    def __get__(self, instance: Any, owner: type) -> Any:
        return self if instance is None else getattr(instance, self.of)

    def __set__(self, instance: Any, value: Any) -> None:
        """Nothing is stored: the constructor has given the value to the field it belongs to."""


def synonym(of: str) -> Any:
    """A second name of a size in a dataclass under `with_synonyms`.

    Args:
        of: The field that it names.

    Returns:
        The default to write: `hidden_dim: int = synonym("state_dim")`.
    """
    return dataclasses.field(default=cast(Any, _Synonym(of)), repr=False, compare=False, kw_only=True)


def with_synonyms(cls: type[C]) -> type[C]:
    """Let a frozen dataclass's constructor take sizes by their second names, each declared by `synonym`.

    A second name can be given and read. It is no field: `dataclasses.fields`, `replace` and `repr` do not show it.
    """
    fields: dict[str, Any] = cast(Any, cls).__dataclass_fields__
    names = {name: field.default.of for name, field in fields.items() if isinstance(field.default, _Synonym)}
    for name in names:
        del fields[name]
    generated = cls.__init__
    signature = inspect.signature(generated)
    parameters = [_default(p, None) if p.name in names else p for p in signature.parameters.values()]

    @functools.wraps(generated)
    def construct(self: Any, *args: Any, **given: Any) -> None:
        for name, field in names.items():
            if name in given:
                value = check(name, given.pop(name), size())
                bound = signature.bind_partial(self, *args, **given).arguments
                check_same(cls.__name__, (field, bound.get(field, value)), (name, value))
                given |= {} if field in bound else {field: value}
        generated(self, *args, **given)

    cast(Any, construct).__signature__ = signature.replace(parameters=parameters)
    type.__setattr__(cls, "__init__", construct)
    return cls


def _default(parameter: inspect.Parameter, default: Any) -> inspect.Parameter:
    """A parameter with another default, which its annotation allows."""
    kind = parameter.annotation
    return parameter.replace(default=default, annotation=int | None if kind is int and default is None else kind)


def check_same(owner: str, first: tuple[str, Any], second: tuple[str, Any]) -> None:
    """Refuse two names of one argument with different values.

    Args:
        owner: Class or function, for the message.
        first: Its name for the argument, and the value.
        second: The second name, and the value.

    Raises:
        ValueError: If the values differ.
    """
    if first[1] != second[1]:
        raise ValueError(
            f"`{second[0]}` is another name of `{first[0]}` in `{owner}`, "
            f"got {first[0]}={first[1]!r} and {second[0]}={second[1]!r}; leave one of them out"
        )


class Torso(Protocol[P, M_co]):
    """What type checkers see as a ready-made torso."""

    @overload
    def __call__(self) -> M_co: ...

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> M_co: ...

    @overload
    def __call__(self, *, hidden_dim: int, **options: Any) -> M_co: ...


def torso(kind: Callable[P, Any], **defaults: Any) -> Callable[[Callable[..., M]], Torso[P, M]]:
    """Make a ready-made torso, `LRU(features=64, r_min=0.9)`, of a function that builds it.

    The torso takes the fields of a configuration: `features`, its width of the output, by position too, the others as
    keywords. `hidden_dim` is a second name of `features`, of which both may be given if they are equal.

    Args:
        kind: The configuration.
        **defaults: Defaults of the torso that differ from the configuration's; None where the function decides.

    Returns:
        A decorator of a function of `features` and of the options that were given, none of which is None.
    """
    fields = inspect.signature(kind).parameters
    keyword = inspect.Parameter.KEYWORD_ONLY
    shown = [
        _default(parameter, defaults.get(name, parameter.default))
        for name, parameter in fields.items()
        if name not in ("hidden_dim", "name", "parent")
    ]
    parameters = [
        shown[0].replace(default=64, annotation=int),
        *(parameter.replace(kind=keyword) for parameter in shown[1:]),
        inspect.Parameter("hidden_dim", keyword, default=None, annotation=int | None),
    ]

    known = [parameter.name for parameter in parameters]

    def decorate(build: Callable[..., M]) -> Torso[P, M]:
        name = cast(Any, build).__name__

        @functools.wraps(build)
        def construct(features: Any = _DEFAULT, *, hidden_dim: int | None = None, **options: Any) -> M:
            if hidden_dim is not None:
                hidden_dim = check("hidden_dim", hidden_dim, size())
                features = hidden_dim if features is _DEFAULT else features
                check_same(name, ("features", features), ("hidden_dim", hidden_dim))
            features = check("features", 64 if features is _DEFAULT else features, size())
            unknown = [option for option in options if option not in known]
            if unknown:
                raise TypeError(f"`{unknown[0]}` is not an argument of `{name}`; its arguments are: {', '.join(known)}")
            undecided = {option for option in options if options[option] is None and option in defaults}
            return build(features, **{key: value for key, value in options.items() if key not in undecided})

        cast(Any, construct).__signature__ = inspect.Signature(parameters)
        return cast(Any, construct)

    return decorate


def torso_of(kind: Callable[P, Any], cell: type[Any], wrap: Callable[..., M], summary: str) -> Torso[P, M]:
    """Make the ready-made torso of a cell whose configuration has all defaults that it needs.

    Args:
        kind: The configuration.
        cell: Built of a configuration; the torso has its name, without `Cell`, and its source.
        wrap: Makes the sequence model, `Memoroid` or `RNN`.
        summary: The first words of its description.

    Returns:
        The torso, see `torso`.
    """

    def build(features: int, **options: Any) -> M:
        return wrap(cell=cell(cast(Any, kind)(features=features, **options)))

    build.__name__ = build.__qualname__ = cell.__name__.removesuffix("Cell")
    build.__module__ = cell.__module__
    _, mark, source = inspect.cleandoc(cell.__doc__ or "").partition("Source:\n")
    build.__doc__ = f"{summary} as a torso.\n\n{_ARGUMENTS.format(cast(Any, kind).__name__)}\n{mark}{source}\n"
    return torso(kind)(build)


_ARGUMENTS = """\
Args:
    features: Width of the output; `hidden_dim` is a second name of it.
    **options: Further fields of `{}`.

Returns:
    A sequence model.

Raises:
    TypeError: If an argument is unknown or of another type.
    ValueError: If an argument is out of range.
"""
