"""Keyword arguments of an environment, as the command line and the configuration file have them."""

import math
from collections.abc import Callable
from typing import Annotated, Any, TypeAlias

import tyro


def read_env_options(words: list[str]) -> dict[str, Any]:
    """Read `KEY=VALUE` words; a value is an integer, a float, `true` or `false`, or else a string.

    Raises:
        ValueError: A word is not of this form.
    """
    return read_pairs("env_options", words, "length=20")


def read_pairs(called: str, words: list[str], example: str) -> dict[str, Any]:
    """Read `KEY=VALUE` words of any option; a value is an integer, a float, `true` or `false`, or else a string.

    Args:
        called: Name of the option, for messages.
        words: The words.
        example: One of them, for messages.

    Raises:
        ValueError: A word is not of this form.
    """
    options: dict[str, Any] = {}
    for word in words:
        key, separator, value = word.partition("=")
        if not key.isidentifier() or not separator:
            raise ValueError(f"`{called}` must have the form {example}, got {word}")
        if key in options:
            raise ValueError(f"`{called}` must have each name once, got {key} twice; leave one of them out")
        options[key] = read_value(value)
    return options


def write_env_options(options: dict[str, Any]) -> list[str]:
    """Format options as `read_env_options` reads them, sorted by name."""
    values = {name: str(value).lower() if isinstance(value, bool) else value for name, value in options.items()}
    return [f"{name}={value}" for name, value in sorted(values.items())]


def check_env_options(options: Any, called: str = "env_options") -> None:
    """Check that a configuration file can hold the options.

    Args:
        options: The options.
        called: Name of the field, for messages.

    Raises:
        TypeError: They are not a mapping from names to numbers, booleans or strings.
        ValueError: A number is NaN or infinite.
    """
    if not isinstance(options, dict) or not all(isinstance(name, str) for name in options):
        raise TypeError(f"`{called}` must map names to values, got {options!r}")
    for name, value in options.items():
        if not isinstance(value, bool | int | float | str):
            raise TypeError(f"`{name}` of `{called}` must be a number, a boolean or a string, got {value!r}")
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"`{name}` of `{called}` must be finite, got {value}")


def read_value(text: str) -> bool | int | float | str:
    """Read an integer, a float, `true` or `false`; anything else stays a string."""
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def pairs(read: Callable[[list[str]], dict[str, Any]], metavar: str = "KEY=VALUE ...") -> Any:
    """Say how the command line reads a dictionary of options.

    Args:
        read: Reads the words.
        metavar: How they look, for the help.
    """
    return tyro.constructors.PrimitiveConstructorSpec(
        nargs="*",
        metavar=metavar,
        instance_from_str=read,
        is_instance=lambda options: isinstance(options, dict),
        str_from_instance=write_env_options,
    )


EnvOptions: TypeAlias = Annotated[dict[str, Any], pairs(read_env_options)]
"""Keyword arguments of an environment, on the command line `KEY=VALUE ...`."""
