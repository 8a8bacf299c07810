"""The environments of POPGym, the original ones in Python, as `popgym::<name>`."""

import functools
from typing import Any

from memorax.environments.adapters.raw import check_name, import_library
from memorax.environments.host import HostEnvironment
from memorax.environments.host.source import SingleSource

import_library("popgym", "popgym")
gymnasium = import_library("gymnasium", "popgym")


def names() -> tuple[str, ...]:
    """Names of all environments, such as `RepeatPreviousEasy-v0`."""
    return tuple(sorted(name.removeprefix("popgym-") for name in gymnasium.registry if name.startswith("popgym-")))


def make(
    name: str, *, processes: bool = False, groups: int | None = None, overlap: bool = False, **kwargs: Any
) -> HostEnvironment:
    """Make an environment of POPGym; `memory::` has the same tasks in JAX, which is faster.

    Args:
        name: Name in POPGym, for example `RepeatPreviousEasy-v0`.
        processes: Whether each environment steps in a process of its own.
        groups: Number of groups of environments that take turns; None chooses.
        overlap: Whether agents act while they learn.
        **kwargs: Arguments of its constructor.

    Returns:
        The environment.

    Raises:
        ValueError: If POPGym has no such environment.
    """
    check_name("popgym", name, names())
    make_one = functools.partial(gymnasium.make, f"popgym:popgym-{name}", **kwargs)
    return HostEnvironment(SingleSource(make_one, f"popgym::{name}", processes), groups, overlap)
