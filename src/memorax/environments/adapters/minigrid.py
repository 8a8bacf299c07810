"""The environments of MiniGrid and BabyAI in Python, as `minigrid::<id>`."""

import functools
from typing import Any

from memorax.environments.adapters.raw import check_name, import_library
from memorax.environments.host import HostEnvironment
from memorax.environments.host.source import SingleSource
from memorax.environments.host.spaces import OneHotCells

minigrid = import_library("minigrid", "minigrid")
gymnasium = import_library("gymnasium", "minigrid")


def names() -> tuple[str, ...]:
    """Ids of all environments of the library."""
    return tuple(sorted(name for name in gymnasium.registry if name.startswith(("MiniGrid-", "BabyAI-"))))


def make(
    name: str,
    *,
    one_hot: bool = True,
    processes: bool = False,
    groups: int | None = None,
    overlap: bool = False,
    **kwargs: Any,
) -> HostEnvironment:
    """Make an environment of MiniGrid; the mission, a string, is left out of the observations.

    Args:
        name: Id in MiniGrid, for example `MiniGrid-MemoryS7-v0`.
        one_hot: Whether each cell of the image is shown as one-hot vectors of its kind, color and state, side by side,
            rather than as their three numbers.
        processes: Whether each environment steps in a process of its own.
        groups: Number of groups of environments that take turns; None chooses.
        overlap: Whether agents act while they learn.
        **kwargs: Arguments of its constructor.

    Returns:
        The environment.

    Raises:
        ValueError: If MiniGrid has no such environment.
    """
    check_name("minigrid", name, names())
    source = SingleSource(
        functools.partial(gymnasium.make, f"minigrid:{name}", **kwargs), f"minigrid::{name}", processes
    )
    if one_hot:
        constants = import_library("minigrid.core.constants", "minigrid")
        sizes = len(constants.OBJECT_TO_IDX), len(constants.COLOR_TO_IDX), len(constants.STATE_TO_IDX)
        source.observation = OneHotCells(source.observation.foreign, "image", sizes)
    return HostEnvironment(source, groups, overlap)
