"""The environments of EnvPool, in C++ and threads, as `envpool::<id>`."""

import functools
from typing import Any

from memorax.environments.adapters.raw import check_name, import_library
from memorax.environments.host import HostEnvironment
from memorax.environments.host.envpool import EnvPoolSource

envpool = import_library("envpool", "envpool")


def names() -> tuple[str, ...]:
    """Ids of all environments of the library."""
    return tuple(sorted(envpool.list_all_envs()))


def make(name: str, *, groups: int | None = None, overlap: bool = False, **kwargs: Any) -> HostEnvironment:
    """Make an environment of EnvPool.

    Images have their channels last. Where the library stacks frames, they are single frames unless `stack_num` says
    otherwise: the memory takes their place.

    Args:
        name: Id in EnvPool, for example `Pong-v5`.
        groups: Number of groups of environments that take turns; None chooses.
        overlap: Whether agents act while they learn.
        **kwargs: Arguments of `envpool.make`, for example `repeat_action_probability=0.25`.

    Returns:
        The environment.

    Raises:
        ValueError: If EnvPool has no such environment.
    """
    check_name("envpool", name, names())
    config = envpool.make_spec(name).config
    if "stack_num" in getattr(config, "_fields", config):
        kwargs = {"stack_num": 1} | kwargs
    make_pool = functools.partial(envpool.make, name, env_type="gymnasium", **kwargs)
    return HostEnvironment(EnvPoolSource(f"envpool::{name}", make_pool), groups, overlap)
