"""Telling what a user handed in: an environment in Python, a vector environment, or a function that makes one."""

from collections.abc import Callable
from typing import Any

from memorax.environments.host.batch import VectorBatch
from memorax.environments.host.environment import HostEnvironment
from memorax.environments.host.envpool import EnvPoolBatch
from memorax.environments.host.makers import copies_of
from memorax.environments.host.source import SingleSource, VectorSource
from memorax.environments.host.spaces import ChannelsLast

_OTHER_LIBRARIES = {"dm_env", "gym", "pettingzoo"}


def as_host(
    env: Any,
    *,
    name: str | None = None,
    processes: bool = False,
    groups: int | None = None,
    overlap: bool = False,
    critic_state: str | None = None,
) -> HostEnvironment:
    """Take an environment in Python, as agents do with what they are given.

    Example:
        >>> from memorax.environments import as_host
        >>> env = as_host(lambda: gymnasium.make("CartPole-v1"), processes=True)

    Args:
        env: A `gymnasium.Env`, a `gymnasium.vector.VectorEnv`, or a function without arguments that makes one. A single
            environment is copied as often as an agent needs it; with `processes` it, or the function, must be one that
            `cloudpickle` can send to other processes.
        name: Name of the environment; None for its own.
        processes: Whether each environment steps in a process of its own: for environments whose step takes longer
            than half a millisecond or so. Programs that use it need `if __name__ == "__main__":`.
        groups: As `HostEnvironment` takes it.
        overlap: As `HostEnvironment` takes it.
        critic_state: Name of an entry of `info`, such as `state`, that `reset` and `step` return: it becomes an entry
            of the observation, for the critic only (`critic_only`).

    Returns:
        The environment for agents.

    Raises:
        TypeError: It is nothing of this kind, or does not do what environments of Gymnasium do.
        ValueError: The same.
    """
    found = find_host(env, name, processes, critic_state, groups=groups, overlap=overlap)
    if found is None:
        got = f"the class {env.__name__}; write `lambda: {env.__name__}(...)`" if isinstance(env, type) else repr(env)
        raise TypeError(f"`env` must be an environment of gymnasium, or a function that makes one, got {got}")
    return found


def find_host(
    env: Any, name: str | None = None, processes: bool = False, critic_state: str | None = None, **options: Any
) -> HostEnvironment | None:
    """Take an environment in Python, as `as_host` does; None if it is something else.

    Args:
        env: As `as_host` takes it.
        name: As `as_host` takes it.
        processes: As `as_host` takes it.
        critic_state: As `as_host` takes it.
        **options: Further arguments of `HostEnvironment`.

    Raises:
        TypeError: It is of a library without adapter, or does not do what environments of Gymnasium do.
        ValueError: The same.
    """
    if isinstance(env, HostEnvironment):
        return env
    if isinstance(env, type):
        return None
    if callable(env) and not hasattr(env, "step") and not hasattr(env, "step_env"):
        return _from_function(env, name, processes, critic_state, options)
    if _is_other(env):
        kind: type = type(env)
        library = next(_library(cls) for cls in kind.__mro__ if _library(cls) in _OTHER_LIBRARIES)
        raise TypeError(
            f"`env` must be an environment of JAX or of gymnasium, got {kind.__name__} of {library}; convert it, "
            "with the package shimmy for instance"
        )
    if not is_gymnasium(env):
        return None
    if _is_vector(env):
        return HostEnvironment(_vector_source(None, env, name, critic_state), **options)
    return HostEnvironment(SingleSource(copies_of(env), name, processes, critic_state), **options)


def _vector_source(
    make: Callable[[], Any] | None, first: Any, name: str | None, critic_state: str | None
) -> VectorSource:
    if critic_state is not None:
        raise ValueError(
            f"`critic_state` must be None for a vector environment, got {critic_state!r} for {type(first).__name__}; "
            "pass a function that makes a single environment"
        )
    pool = any(_library(cls) == "envpool" for cls in type(first).__mro__)
    source = VectorSource(make, first, name, EnvPoolBatch if pool else VectorBatch)
    if pool:
        source.observation = ChannelsLast(source.observation.foreign)
    return source


def _from_function(
    make: Callable[[], Any], name: str | None, processes: bool, critic_state: str | None, options: dict[str, Any]
) -> HostEnvironment:
    made = make()
    if not is_gymnasium(made):
        raise TypeError(
            f"`env` must be an environment, or a function that makes one of gymnasium, got {make!r}, which returns "
            f"{type(made).__name__}"
        )
    if _is_vector(made):
        return HostEnvironment(_vector_source(make, made, name, critic_state), **options)
    made.close()
    return HostEnvironment(SingleSource(make, name, processes, critic_state), **options)


def _library(cls: type) -> str:
    return cls.__module__.partition(".")[0]


def is_gymnasium(env: Any) -> bool:
    """Whether an object is an environment, or a vector environment, of Gymnasium."""
    return any(_library(cls) == "gymnasium" for cls in type(env).__mro__)


def _is_other(env: Any) -> bool:
    return not is_gymnasium(env) and any(_library(cls) in _OTHER_LIBRARIES for cls in type(env).__mro__)


def _is_vector(env: Any) -> bool:
    return hasattr(env, "single_observation_space")
