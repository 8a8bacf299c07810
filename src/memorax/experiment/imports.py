"""Names that stand for a user's own code: modules to import, and environments written `my_module:make_env`."""

import functools
import importlib
import inspect
import os
import re
import sys
from collections.abc import Iterable
from types import ModuleType
from typing import Any

from memorax.core.types import PyTree
from memorax.environments import Environment, as_environment, make
from memorax.environments.host import is_gymnasium

_REFERENCE = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


def import_modules(modules: Iterable[str]) -> None:
    """Import modules that register environments, models or algorithms; once in a process.

    They are looked for where Python looks, and in the current folder after that.

    Args:
        modules: Their names, `my_package.my_module`.

    Raises:
        ValueError: One cannot be found or imported; the message names it.
    """
    for name in modules:
        _import(name)


def make_environment(env: str, options: dict[str, Any]) -> tuple[Environment, PyTree]:
    """Make an environment from the name that a configuration has for it.

    Args:
        env: `namespace::Name`, as `memorax.environments.make` takes it; or `module:attribute`, where the attribute is
            an environment, of Gymnasium for instance, or is called with the options and returns one or
            `(environment, params)`.
        options: Keyword arguments of the environment.

    Returns:
        The environment and its parameters.

    Raises:
        TypeError: It does not take these options, or what it returns is no environment.
        ValueError: There is no such environment or module, or an option is out of range.
    """
    if _REFERENCE.fullmatch(env):
        found = _look_up(env)
        made = _call(env, found, options)
        environment, params = made if isinstance(made, tuple) else (made, None)
        if is_gymnasium(environment) and environment is not found:
            environment.close()
            environment = functools.partial(found, **options)  # to be made as often as it is needed
        environment = as_environment(environment, params)
        return environment, environment.default_params if params is None else params
    return make(env, **options)


def _import(name: str) -> ModuleType:
    # Last, so that it hides nothing: unlike `python -m memorax`, the installed command does not look there by itself.
    if not {"", os.getcwd()} & set(sys.path):
        sys.path.append(os.getcwd())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise ValueError(f"module `{name}` could not be imported ({error})") from error
        raise ValueError(
            f"module `{name}` cannot be found; run from the folder that contains it, or add that folder to PYTHONPATH"
        ) from error
    except Exception as error:
        raise ValueError(f"module `{name}` could not be imported ({type(error).__name__}: {error})") from error


def _look_up(env: str) -> Any:
    module, _, attribute = env.partition(":")
    try:
        return functools.reduce(getattr, attribute.split("."), _import(module))
    except AttributeError as error:
        raise ValueError(f"`env` must name something in a module, got `{env}` ({error})") from error


def _call(env: str, found: Any, options: dict[str, Any]) -> Any:
    """Call what makes an environment; an environment is taken as it is."""
    if hasattr(found, "step") and not isinstance(found, type):
        if options:
            raise TypeError(f"`env_options` must be empty, got {options}: `{env}` is an environment, not a function")
        return found
    if not callable(found):
        raise TypeError(f"`env` must name an environment or a function that makes one, got `{env}`, which is {found!r}")
    try:
        inspect.signature(found).bind(**options)
    except TypeError as error:
        raise TypeError(f"`env_options` must be arguments of `{env}`, got {options} ({error})") from error
    return found(**options)
