"""Keyword arguments of an environment, as the command line and the configuration file have them."""

import math
from typing import Annotated, Any, TypeAlias

import tyro


def read_env_options(words: list[str]) -> dict[str, Any]:
    """Read `KEY=VALUE` words; a value is an integer, a float, `true` or `false`, or else a string.

    Raises:
        ValueError: A word is not of this form.
    """
    options: dict[str, Any] = {}
    for word in words:
        key, separator, value = word.partition("=")
        if not key.isidentifier() or not separator:
            raise ValueError(f"`env_options` must have the form length=20, got {word}")
        if key in options:
            raise ValueError(f"`env_options` must have each name once, got {key} twice; leave one of them out")
        options[key] = _read_value(value)
    return options


def write_env_options(options: dict[str, Any]) -> list[str]:
    """Format options as `read_env_options` reads them, sorted by name."""
    values = {name: str(value).lower() if isinstance(value, bool) else value for name, value in options.items()}
    return [f"{name}={value}" for name, value in sorted(values.items())]


def check_env_options(options: Any) -> None:
    """Check that a configuration file can hold the options.

    Raises:
        TypeError: They are not a mapping from names to numbers, booleans or strings.
        ValueError: A number is NaN or infinite.
    """
    if not isinstance(options, dict) or not all(isinstance(name, str) for name in options):
        raise TypeError(f"`env_options` must map names to values, got {options!r}")
    for name, value in options.items():
        if not isinstance(value, bool | int | float | str):
            raise TypeError(f"`{name}` of `env_options` must be a number, a boolean or a string, got {value!r}")
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"`{name}` of `env_options` must be finite, got {value}")


def _read_value(text: str) -> bool | int | float | str:
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


EnvOptions: TypeAlias = Annotated[
    dict[str, Any],
    tyro.constructors.PrimitiveConstructorSpec(
        nargs="*",
        metavar="KEY=VALUE ...",
        instance_from_str=read_env_options,
        is_instance=lambda options: isinstance(options, dict),
        str_from_instance=write_env_options,
    ),
]
"""Keyword arguments of an environment, on the command line `KEY=VALUE ...`."""
