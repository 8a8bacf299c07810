"""The NetHack Learning Environment, and MiniHack where it is installed, as `nle::<id>`."""

from __future__ import annotations  # classes that are sent to processes by value take no annotations along

import importlib.util
from collections.abc import Callable, Sequence
from typing import Any

from memorax.environments.adapters.raw import check_name, import_library
from memorax.environments.host import HostEnvironment
from memorax.environments.host.source import SingleSource

import_library("nle", "nle")
gymnasium = import_library("gymnasium", "nle")
_MODULES = [name for name in ("nle", "minihack") if importlib.util.find_spec(name) is not None]


def names() -> tuple[str, ...]:
    """Ids of all environments: `NetHack...`, and `MiniHack-...` where MiniHack is installed."""
    for module in _MODULES:
        import_library(module, "nle")
    return tuple(sorted(name for name in gymnasium.registry if name.startswith(("NetHack", "MiniHack-"))))


def make(
    name: str,
    *,
    observation_keys: Sequence[str] = ("chars", "colors", "blstats"),
    processes: bool = False,
    groups: int | None = None,
    overlap: bool = False,
    **kwargs: Any,
) -> HostEnvironment:
    """Make an environment of NLE or MiniHack, whose episodes follow from their random seed.

    Args:
        name: Its id, for example `NetHackScore-v0` or `MiniHack-Corridor-R3-v0`.
        observation_keys: What is shown, by the library's names: by default the map as characters and colors, and the
            line of statistics. `glyphs_crop`, `chars_crop` and the like are MiniHack's.
        processes: Whether each environment steps in a process of its own.
        groups: Number of groups of environments that take turns; None chooses.
        overlap: Whether agents act while they learn.
        **kwargs: Further arguments of its constructor, for example `max_episode_steps`.

    Returns:
        The environment.

    Raises:
        ValueError: If there is no such environment.
    """
    check_name("nle", name, names())
    keys = [observation_keys] if isinstance(observation_keys, str) else list(observation_keys)
    module = "minihack" if name.startswith("MiniHack") else "nle"
    make_one = _seeded(f"{module}:{name}", {"observation_keys": keys} | kwargs)
    return HostEnvironment(SingleSource(make_one, f"nle::{name}", processes), groups, overlap)


def _seeded(env_id: str, options: dict[str, Any]) -> Callable[[], Any]:
    # Defined in here, so that it is sent to processes by value, which then need not import memorax.
    def make_one() -> Any:
        import gymnasium

        class Seeded(gymnasium.Wrapper):
            """Draws the seeds of each game: the library ignores the seed of `reset`."""

            def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
                inner: Any = self.env.unwrapped
                if seed is not None:
                    gymnasium.Env.reset(inner, seed=seed)
                core, display, levels = (int(x) for x in inner.np_random.integers(2**31, size=3))
                inner.seed(core, display, reseed=False, lgen=levels)
                return self.env.reset(options=options)

        return Seeded(gymnasium.make(env_id, disable_env_checker=True, **options))

    return make_one
