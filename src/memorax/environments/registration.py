"""Environments by name: `make`, `register`, `register_adapter`, and the list of registered environments."""

import inspect
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from memorax.core.registry import Registry, nearest, suggest
from memorax.core.spaces import Space
from memorax.core.types import PyTree
from memorax.environments.adapters.foreign import adapt
from memorax.environments.environment import Environment
from memorax.environments.libraries import ADAPTERS, LIBRARIES, Adapter, adapter_make, names_of
from memorax.environments.memory import ALIASES, TASKS
from memorax.environments.multi_agent import TASKS as MULTI_AGENT_TASKS
from memorax.environments.wrappers.reset_pool import ResetPool

_LIST = "memorax list environments"
_LIKE_GYMNASIUM = re.compile(r"[A-Z]\w*-v\d+")


SYNONYMS: dict[str, str] = {f"memory::{alias}": f"memory::{name}" for alias, name in ALIASES.items()}
"""Further names that `make` accepts; they are not listed."""


@dataclass(frozen=True)
class Entry:
    """A registered environment.

    Attributes:
        factory: Creates it from keyword arguments; returns an environment or `(environment, params)`.
        description: One line about it.
    """

    factory: Callable[..., Any]
    description: str


@dataclass(frozen=True)
class Card:
    """Facts about a registered environment with its default arguments.

    Attributes:
        id: `namespace::Name`.
        description: One line about it.
        observation_space: The observation space.
        action_space: The action space.
        optimal_return: Expected return of the optimal policy with memory; None if unknown.
        memoryless_return: The same for the optimal policy that depends on the current observation only.
        memory_length: Number of steps over which information must be remembered; None if not a single number.
        horizon: The longest possible episode in steps; None if there is no bound.
    """

    id: str
    description: str
    observation_space: Space
    action_space: Space
    optimal_return: float | None
    memoryless_return: float | None
    memory_length: int | None
    horizon: int | None


ENVIRONMENTS: Registry[Entry] = Registry(
    "environment",
    listing=_LIST,
    plugins="memorax.environments",
    adopt=lambda env_id, factory: register(env_id, factory),  # noqa: PLW0108  defined below
)
"""The built-in tasks and those that users register; environments of other libraries are not listed here."""


def register(env_id: str, factory: Callable[..., Any], *, description: str | None = None) -> None:
    """Make an environment of your own available by name.

    Example:
        >>> register("mine::Corridor", Corridor)
        >>> env, env_params = make("mine::Corridor", length=20)

    Args:
        env_id: `namespace::Name`; the namespace may be new.
        factory: Takes the keyword arguments of `make`; returns an environment that speaks the protocol, or
            `(environment, params)`.
        description: One line for `memorax list environments`; by default the first line of the docstring.

    Raises:
        TypeError: If `factory` is not callable.
        ValueError: If the name has no namespace, is taken, or its namespace belongs to an adapter.
    """
    namespace, _ = _split(env_id)
    if env_id in SYNONYMS:
        raise ValueError(f"`{env_id}` must be new, but is another name of `{SYNONYMS[env_id]}`; choose another")
    if namespace in ADAPTERS:
        raise ValueError(f"`{env_id}` must not use `{namespace}`, which belongs to an adapter; choose another")
    if not callable(factory):
        raise TypeError(f"`factory` of `{env_id}` must be callable, got {factory!r}; pass a class or a function")
    ENVIRONMENTS.register(env_id, Entry(factory, _first_line(factory) if description is None else description))


def register_adapter(namespace: str, source: str | Callable[..., Any], *, extra: str | None = None) -> None:
    """Make all environments of another library available, as `namespace::Name`.

    Example:
        >>> register_adapter("mylib", "my_package.memorax_adapter", extra="my-package[memorax]")
        >>> env, env_params = make("mylib::Maze-v0", size=9)

    Args:
        namespace: A new namespace.
        source: The name of a module with a function `make(name, **kwargs)`, imported when first needed, or such a
            function. It returns an environment that speaks a known protocol, or `(environment, params)`. The module may
            also have a function `names()` that returns the names of the library's environments, for suggestions.
        extra: What to install where the library is missing, as `pip install` takes it; named in the message.

    Raises:
        TypeError: If `source` is neither a module's name nor callable.
        ValueError: If the namespace is taken, or not a plain name.
    """
    if isinstance(namespace, str) and (not namespace.strip() or "::" in namespace):
        raise ValueError(f"`namespace` must be a name without `::`, got {namespace!r}")
    if namespace not in ADAPTERS and namespace in _namespaces():
        raise ValueError(f"`namespace` must be new, got `{namespace}`, in which environments are registered")
    if not isinstance(source, str) and not callable(source):
        raise TypeError(f"`source` of `{namespace}` must be a module's name or a function, got {source!r}")
    ADAPTERS.register(namespace, Adapter(source, extra))


def make(env_id: str, **kwargs: Any) -> tuple[Environment, PyTree]:
    """Create an environment by name.

    Args:
        env_id: `namespace::Name`, for example `memory::RepeatPreviousEasy` or `gymnax::CartPole-v1`.
        **kwargs: Arguments of the environment. Besides, `reset_pool` sets how many resets are computed at once, for
            those environments of a batch whose episode ended (see `ResetPool`): faster where a reset is expensive.

    Returns:
        The environment and its default parameters.

    Raises:
        TypeError: If the environment does not take these arguments.
        ValueError: If there is no such environment, or an argument is out of range.
        MissingExtraError: If the library behind the namespace is not installed.
    """
    namespace, name = _split(env_id)
    env_id = SYNONYMS.get(env_id, env_id)
    if namespace in ADAPTERS:
        return _with_params(adapter_make(namespace)(name, **kwargs))
    if namespace not in _namespaces():
        ENVIRONMENTS.load_plugins()
    if namespace not in _namespaces():
        raise ValueError(f"unknown namespace `{namespace}` in `{env_id}`{suggest(namespace, _namespaces())}")
    factory = ENVIRONMENTS.get(env_id).factory
    reset_pool = kwargs.pop("reset_pool", None)
    _check_arguments(env_id, factory, kwargs)
    env, params = _with_params(factory(**kwargs))
    return env if reset_pool is None else ResetPool(env, reset_pool), params


def _with_params(made: Any) -> tuple[Environment, PyTree]:
    """What a factory made, as an environment of ours with its parameters."""
    env, params = made if isinstance(made, tuple) else (made, None)
    env = adapt(env, params)
    return env, env.default_params if params is None else params


def registered() -> tuple[Card, ...]:
    """Describe every registered environment, sorted by name; one that cannot be made is left out with a warning."""
    cards = []
    for env_id in ENVIRONMENTS:
        try:
            cards.append(_card(env_id))
        except Exception as error:
            problem = f"could not be made with its default arguments ({type(error).__name__}: {error})"
            warnings.warn(f"environment `{env_id}` {problem}; it is not listed", stacklevel=2)
    return tuple(cards)


def _card(env_id: str) -> Card:
    env, params = make(env_id)
    return Card(
        id=env_id,
        description=ENVIRONMENTS.get(env_id).description,
        observation_space=env.observation_space(params),
        action_space=env.action_space(params),
        optimal_return=env.optimal_return,
        memoryless_return=env.memoryless_return,
        memory_length=env.memory_length(params),
        horizon=env.horizon(params),
    )


def _namespaces() -> tuple[str, ...]:
    return tuple(sorted({*ADAPTERS, *(env_id.split("::")[0] for env_id in ENVIRONMENTS)}))


def _split(env_id: str) -> tuple[str, str]:
    if not isinstance(env_id, str):
        raise TypeError(f"`env_id` must be a string like `memory::RepeatPreviousEasy`, got {env_id!r}")
    namespace, separator, name = env_id.partition("::")
    if separator and namespace and name:
        return namespace, name
    raise ValueError(f"`env_id` must have the form `namespace::Name`, got `{env_id}`{_complete(env_id)}")


def _complete(name: str) -> str:
    """Complete a message about a name without namespace: what it may stand for, or the namespaces."""
    if not name.strip(":"):
        return f"; namespaces: {', '.join(_namespaces())}"
    by_name = {known.partition("::")[2]: known for known in ENVIRONMENTS}
    for namespace in ADAPTERS:
        by_name |= {found: f"{namespace}::{found}" for found in names_of(namespace)}
    near = [name] if name in by_name else nearest(name, tuple(by_name))
    if near:
        return f"; did you mean {' or '.join(f'`{by_name[found]}`' for found in near)}"
    if _LIKE_GYMNASIUM.fullmatch(name):
        return f"; did you mean `gymnax::{name}`; namespaces: {', '.join(_namespaces())}"
    return f"; namespaces: {', '.join(_namespaces())}"


def _check_arguments(env_id: str, factory: Callable[..., Any], kwargs: dict[str, Any]) -> None:
    """Refuse arguments that the factory does not accept, with a message that names the environment."""
    parameters = inspect.signature(factory).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return
    takes = [parameter.name for parameter in parameters]
    unknown = [name for name in kwargs if name not in takes]
    if unknown:
        taken = ", ".join(takes) if takes else "no arguments"
        raise TypeError(f"`{unknown[0]}` is not an argument of `{env_id}`; it takes: {taken}")


def _first_line(factory: Callable[..., Any]) -> str:
    target = factory.func if isinstance(factory, partial) else factory
    return (inspect.getdoc(target) or "").partition("\n")[0]


for _name, _task in TASKS.items():
    register(f"memory::{_name}", _task)
for _name, _task in MULTI_AGENT_TASKS.items():
    register(f"multi_agent::{_name}", _task)
for _name in LIBRARIES:
    register_adapter(_name, f"memorax.environments.adapters.{_name}", extra=f"memorax[{_name.replace('_', '-')}]")
