"""Environments by name: `make`, `register`, and the list of what there is."""

import contextlib
import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from memorax.core.registry import Registry, suggest
from memorax.core.spaces import Space
from memorax.core.types import PyTree
from memorax.environments.adapters.foreign import adapt
from memorax.environments.environment import Environment
from memorax.environments.memory import ALIASES, TASKS
from memorax.environments.multi_agent import TASKS as MULTI_AGENT_TASKS
from memorax.environments.wrappers.reset_pool import ResetPool

ADAPTERS: dict[str, str] = {
    "brax": "memorax.environments.adapters.brax",
    "craftax": "memorax.environments.adapters.craftax",
    "gymnax": "memorax.environments.adapters.gymnax",
    "jaxmarl": "memorax.environments.adapters.jaxmarl",
    "jumanji": "memorax.environments.adapters.jumanji",
    "navix": "memorax.environments.adapters.navix",
    "pgx": "memorax.environments.adapters.pgx",
    "playground": "memorax.environments.adapters.playground",
    "popgym_arcade": "memorax.environments.adapters.popgym_arcade",
    "xminigrid": "memorax.environments.adapters.xminigrid",
}
"""Namespaces of other libraries: the module that adapts each, imported when the namespace is first used."""


SYNONYMS: dict[str, str] = {f"memory::{alias}": f"memory::{name}" for alias, name in ALIASES.items()}
"""Other names that `make` knows; they are not listed."""


@dataclass(frozen=True)
class Entry:
    """A registered environment.

    Attributes:
        factory: Makes it from keyword arguments; returns an environment or `(environment, params)`.
        description: One line about it.
    """

    factory: Callable[..., Any]
    description: str


@dataclass(frozen=True)
class Card:
    """What is known about a registered environment with its default arguments.

    Attributes:
        id: `namespace::Name`.
        description: One line about it.
        observation_space: What the agent sees.
        action_space: What the agent does.
        optimal_return: Expected return with memory, None where unknown.
        memoryless_return: The same for the best policy that sees only the current observation.
        memory_length: For how many steps information must be kept, None where that is not one number.
        horizon: The longest episode in steps, None where there is no bound.
    """

    id: str
    description: str
    observation_space: Space
    action_space: Space
    optimal_return: float | None
    memoryless_return: float | None
    memory_length: int | None
    horizon: int | None


ENVIRONMENTS: Registry[Entry] = Registry("environment")
"""The embedded tasks and what users register; the environments of other libraries are not listed here."""


def register(env_id: str, factory: Callable[..., Any], *, description: str | None = None) -> None:
    """Make an environment available by name.

    Args:
        env_id: `namespace::Name`; the namespace may be new.
        factory: Takes the keyword arguments of `make`; returns an environment that speaks the protocol, or
            `(environment, params)`.
        description: One line for the list; by default the first line of the docstring.

    Raises:
        TypeError: If `factory` cannot be called.
        ValueError: If the name has no namespace, is taken, or belongs to the namespace of another library.
    """
    namespace, _ = _split(env_id)
    if env_id in SYNONYMS:
        raise ValueError(f"`{env_id}` must be new, but is another name of `{SYNONYMS[env_id]}`; choose another")
    if namespace in ADAPTERS:
        raise ValueError(f"`{env_id}` must not use `{namespace}`, which belongs to that library; choose a namespace")
    if not callable(factory):
        raise TypeError(f"`factory` of `{env_id}` must be callable, got {factory!r}; pass a class or a function")
    ENVIRONMENTS.register(env_id, Entry(factory, _first_line(factory) if description is None else description))


def make(env_id: str, **kwargs: Any) -> tuple[Environment, PyTree]:
    """Make an environment.

    Args:
        env_id: `namespace::Name`, for example `memory::RepeatPreviousEasy` or `gymnax::CartPole-v1`.
        **kwargs: Arguments of the environment. Besides, `reset_pool` says how many resets are computed at once for
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
        return importlib.import_module(ADAPTERS[namespace]).make(name, **kwargs)
    if namespace not in _namespaces():
        raise ValueError(f"unknown namespace `{namespace}` in `{env_id}`{suggest(namespace, _namespaces())}")
    factory = ENVIRONMENTS.get(env_id).factory
    reset_pool = kwargs.pop("reset_pool", None)
    _check_arguments(env_id, factory, kwargs)
    made = factory(**kwargs)
    env, params = made if isinstance(made, tuple) else (made, None)
    env = adapt(env, params)
    params = env.default_params if params is None else params
    return env if reset_pool is None else ResetPool(env, reset_pool), params


def library_names() -> dict[str, tuple[str, ...]]:
    """Ids of the environments of all libraries that are installed, by namespace; imports every one of them."""
    found = {}
    for namespace, module in ADAPTERS.items():
        with contextlib.suppress(ImportError):  # not installed, or beside something that it does not work with
            found[namespace] = importlib.import_module(module).names()
    return found


def registered() -> tuple[Card, ...]:
    """Describe every registered environment, sorted by name."""
    return tuple(_card(env_id) for env_id in ENVIRONMENTS)


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
    like = [known for known in ENVIRONMENTS if known.split("::")[1] == env_id]
    hint = f"; did you mean `{like[0]}`" if like else f"; namespaces: {', '.join(_namespaces())}"
    raise ValueError(f"`env_id` must have the form `namespace::Name`, got `{env_id}`{hint}")


def _check_arguments(env_id: str, factory: Callable[..., Any], kwargs: dict[str, Any]) -> None:
    """Refuse arguments that the factory does not take, in words that name the environment."""
    parameters = inspect.signature(factory).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return
    takes = [parameter.name for parameter in parameters]
    unknown = [name for name in kwargs if name not in takes]
    if unknown:
        raise TypeError(
            f"`{unknown[0]}` is no argument of `{env_id}`; it takes: {', '.join(takes) if takes else 'no arguments'}"
        )


def _first_line(factory: Callable[..., Any]) -> str:
    target = factory.func if isinstance(factory, partial) else factory
    return (inspect.getdoc(target) or "").partition("\n")[0]


for _name, _task in TASKS.items():
    register(f"memory::{_name}", _task)
for _name, _task in MULTI_AGENT_TASKS.items():
    register(f"multi_agent::{_name}", _task)
