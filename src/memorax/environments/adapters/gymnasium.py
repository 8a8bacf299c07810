"""The environments of Gymnasium, and of every library that registers its own there, as `gymnasium::<id>`."""

import functools
import importlib
from typing import Any

from memorax.environments.adapters.raw import check_name, import_library
from memorax.environments.host import HostEnvironment
from memorax.environments.host.source import SingleSource
from memorax.environments.missing import MissingExtraError

gymnasium = import_library("gymnasium", "gymnasium")


def names() -> tuple[str, ...]:
    """Ids that are registered, without those of environments in JAX, which Gymnasium has too."""
    return tuple(sorted(name for name in gymnasium.registry if "/" not in name or name.startswith("ALE/")))


def _import(module: str) -> None:
    package = module.partition(".")[0]
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise MissingExtraError(module, package) from error


def make(
    name: str,
    *,
    processes: bool = False,
    groups: int | None = None,
    overlap: bool = False,
    critic_state: str | None = None,
    **kwargs: Any,
) -> HostEnvironment:
    """Make an environment of Gymnasium.

    Args:
        name: Id in Gymnasium, for example `CartPole-v1`; or `module:id`, where the module registers it.
        processes: Whether each environment steps in a process of its own.
        groups: Number of groups of environments that take turns; None chooses.
        overlap: Whether agents act while they learn.
        critic_state: Name of an entry of `info` that is shown as an entry of the observation, for the critic only.
        **kwargs: Further arguments of `gymnasium.make`.

    Returns:
        The environment.

    Raises:
        MissingExtraError: If there is no such module.
        ValueError: If no such environment is registered.
    """
    module, separator, _ = name.rpartition(":")
    if separator:
        _import(module)
    else:
        check_name("gymnasium", name, tuple(gymnasium.registry))
    make_one = functools.partial(gymnasium.make, name, **kwargs)
    source = SingleSource(make_one, f"gymnasium::{name}", processes, critic_state)
    return HostEnvironment(source, groups, overlap)
