"""Reading a command's options; each field's docstring is its help."""

import dataclasses
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Literal

import tyro

from memorax.cli.field_help import describe_fields
from memorax.cli.refusal import Refusal, refusing
from memorax.experiment.env_options import pairs, read_pairs

_DIGITS = 30
"""Integers with more digits are refused before they are computed."""

SYNONYMS = {
    "--clip-coef": "--clip-coefficient",
    "--clip-range": "--clip-coefficient",
    "--ent-coef": "--entropy-coefficient",
    "--env-id": "--env",
    "--hidden-dim": "--features",
    "--hidden-size": "--features",
    "--lr": "--learning-rate",
    "--n-envs": "--num-envs",
    "--n-epochs": "--update-epochs",
    "--n-seeds": "--seeds",
    "--n-steps": "--num-steps",
    "--num-seeds": "--seeds",
    "--total-timesteps": "--steps",
}
"""Options of other libraries, and what they are called here; for the message."""


_TITLES = {"run": "", "hyperparameters": "algorithm", "sweep": ""}
"""What nested dataclasses are called above their options in the help, where that is not their field's name."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """The option that all commands have which look names up."""

    imports: Annotated[tuple[str, ...], tyro.conf.arg(name="import", metavar="MODULE"), tyro.conf.UseAppendAction] = ()
    """Import a module first, so that the environments, models and algorithms that it registers are known by name.
    May be given several times."""


Pairs = Annotated[dict[str, Any], pairs(lambda words: read_pairs("set", words, "learning_rate=1e-4"))]
"""Values by name, `NAME=VALUE ...`."""
Step = Annotated[int | Literal["last", "best"], tyro.conf.arg(metavar="{last,best,INT}")]
"""Which checkpoint of a run."""


def parse(options: Any, command: str, arguments: Sequence[str]) -> Any:
    """Read a command line.

    Args:
        options: A dataclass of options, or an instance whose values are the defaults; nested dataclasses add theirs.
        command: The words after `memorax` that stand before the options, for the help.
        arguments: The options.

    Returns:
        An instance of the dataclass.

    Raises:
        Refusal: A value is refused, or an option goes by another name here.
        SystemExit: The help was asked for, or an option is unknown or malformed; tyro has said so.
    """
    for argument in arguments:
        name = argument.partition("=")[0].replace("_", "-")
        if name in SYNONYMS:
            raise Refusal(f"unknown option `{argument.partition('=')[0]}`; did you mean `{SYNONYMS[name]}`")
    # Of an option that is given twice the last one counts; here that would lose names without a word.
    if sum(argument.partition("=")[0].replace("_", "-") == "--env-options" for argument in arguments) > 1:
        raise Refusal("`--env-options` must be given once, with all names after it: --env-options length=20 penalty=-1")
    settings: dict[str, Any] = {"config": (tyro.conf.OmitArgPrefixes,), "registry": _registry()}
    if isinstance(options, type):
        described: Any = type(options.__name__, (options,), {"__doc__": options.__doc__})
        describe_fields(described)
        return tyro.cli(described, prog=f"memorax {command}", args=list(arguments), **settings)
    default = _unchecked(options)
    found = tyro.cli(type(default), prog=f"memorax {command}", args=list(arguments), default=default, **settings)
    return refusing(_checked, found, options)


def given_values(arguments: Sequence[str], option: str) -> list[str]:
    """The values given to an option that must be known before all others are read.

    Args:
        arguments: The command line.
        option: `--name`, which takes one value each time that it is given.
    """
    following = zip(arguments, [*arguments, ""][1:], strict=True)
    pairs = [(*word.partition("=")[::2], "=" in word, after) for word, after in following]
    return [value if inline else after for name, value, inline, after in pairs if name == option]


def read_integer(text: str) -> int:
    """Read an integer, also as `50_000` or `1e6`.

    Raises:
        ValueError: It is no integer, or too large for anything.
    """
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"must be an integer such as 50_000 or 1e6, got {text}") from None
    if not number.is_finite() or number.adjusted() >= _DIGITS or number != number.to_integral_value():
        raise ValueError(f"must be an integer such as 50_000 or 1e6, got {text}")
    return int(number)


def _registry() -> tyro.constructors.ConstructorRegistry:
    """How tyro is to read integers."""
    registry = tyro.constructors.ConstructorRegistry()

    @registry.primitive_rule
    def integers(info: tyro.constructors.PrimitiveTypeInfo) -> tyro.constructors.PrimitiveConstructorSpec[int] | None:
        if info.type is not int:
            return None
        return tyro.constructors.PrimitiveConstructorSpec(
            nargs=1,
            metavar="INT",
            instance_from_str=lambda words: read_integer(words[0]),
            is_instance=lambda value: isinstance(value, int) and not isinstance(value, bool),
            str_from_instance=lambda value: [str(value)],
        )

    return registry


def _unchecked(instance: Any) -> Any:
    """Copy a dataclass, nested ones included, to a subclass without its checks.

    Tyro describes an error of a nested dataclass by the path to its field. What is checked afterwards keeps our words.
    """
    cls: Any = type(instance)
    values = _values(instance)
    nested = {name: _unchecked(value) for name, value in values.items() if dataclasses.is_dataclass(value)}
    fields = [(name, Annotated[type(x), tyro.conf.arg(name=_TITLES.get(name, name))]) for name, x in nested.items()]
    types = {field.type: type(nested[field.name]) for field in dataclasses.fields(cls) if field.name in nested}
    variables: tuple[Any, ...] = getattr(cls, "__parameters__", ())
    base = cls[tuple(types[variable] for variable in variables)] if variables else cls
    namespace = {"__post_init__": lambda self: None, "__doc__": cls.__doc__, "__module__": cls.__module__}
    twin = dataclasses.make_dataclass(cls.__name__, fields, bases=(base,), namespace=namespace, frozen=True)
    describe_fields(twin)
    return twin(**values | nested)


def _checked(found: Any, like: Any) -> Any:
    """Copy what `_unchecked` made, with other values by now, back to the classes of `like`; this runs their checks."""
    values = _values(found)
    nested = {name: _checked(values[name], x) for name, x in _values(like).items() if dataclasses.is_dataclass(x)}
    return type(like)(**values | nested)


def _values(instance: Any) -> dict[str, Any]:
    return {field.name: getattr(instance, field.name) for field in dataclasses.fields(instance)}
