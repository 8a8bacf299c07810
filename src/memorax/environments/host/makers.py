"""Functions that make one environment of Gymnasium, and what is put around what they make.

What is defined inside of these functions is sent to processes by value. What annotations name would not come with it,
so they are not evaluated.
"""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable
from typing import Any

from memorax.environments.host.spaces import is_text


def takes_render_mode(make: Callable[[], Any]) -> bool:
    """Whether a function that makes environments, or that of which it is a partial call, takes their render mode.

    Args:
        make: Makes an environment.
    """
    import gymnasium

    function = make.func if isinstance(make, functools.partial) else make
    return function is gymnasium.make or "render_mode" in inspect.signature(function).parameters


def copies_of(env: Any) -> Callable[[], Any]:
    """Give a function that makes environments like one.

    Args:
        env: The environment.

    Raises:
        TypeError: It can neither be copied nor made again.
    """
    try:
        copy.deepcopy(env).close()
    except Exception as error:
        if getattr(env, "spec", None) is None:
            raise TypeError(
                f"`env` must be a function that makes {type(env).__name__}, got an environment that cannot be copied "
                f"({type(error).__name__}: {error}); pass `lambda: ...`"
            ) from error
        import gymnasium

        return lambda spec=env.spec: gymnasium.make(spec)
    return lambda: copy.deepcopy(env)


def keeping_last_observations(make: Callable[[], Any]) -> Callable[[], Any]:
    """Copy the last observation of each episode, which some libraries overwrite when they reset.

    Args:
        make: Makes an environment.
    """

    # Defined here and not at the top, so that it is sent to processes by value, which then need not import memorax.
    def kept() -> Any:
        import copy

        import gymnasium

        class LastObservation(gymnasium.Wrapper):
            def step(self, action: Any) -> tuple:
                observation, reward, terminated, truncated, info = self.env.step(action)
                if terminated or truncated:
                    observation = copy.deepcopy(observation)
                return observation, reward, terminated, truncated, info

        return LastObservation(make())

    return kept


def without_text(make: Callable[[], Any], example: Any) -> Callable[[], Any]:
    """Leave strings out of dictionary observations.

    Args:
        make: Makes an environment.
        example: One that it made.
    """
    kept = _kept_keys(example.observation_space)
    if kept is None:
        return make

    # Defined here and not at the top, so that it is sent to processes by value, which then need not import memorax.
    def filtered() -> Any:
        from gymnasium.wrappers import FilterObservation

        return FilterObservation(make(), kept)

    return filtered


def with_critic_state(make: Callable[[], Any], entry: str) -> Callable[[], Any]:
    """Show an entry of `info` as an entry of the observation, which becomes a dictionary if it is none.

    Args:
        make: Makes an environment.
        entry: Name of the entry, of numbers.
    """

    def shown() -> Any:  # sent to processes by value, as `filtered` is
        import gymnasium
        import numpy as np

        class CriticState(gymnasium.Wrapper):
            def __init__(self, env: Any) -> None:
                super().__init__(env)
                started = env.reset(seed=0)
                info = started[1] if isinstance(started, tuple) and isinstance(started[-1], dict) else {}
                if entry not in info:
                    name = type(env.unwrapped).__name__
                    raise ValueError(
                        f"`critic_state` must name an entry of `info` that `reset` and `step` of {name} return, got "
                        f"{entry!r}; there are {sorted(info)}"
                    )
                space = env.observation_space
                self.nested = isinstance(space, gymnasium.spaces.Dict)
                state = gymnasium.spaces.Box(-np.inf, np.inf, np.shape(info[entry]), np.float32)
                parts = space.spaces if self.nested else {"observation": space}
                self.observation_space = gymnasium.spaces.Dict({**parts, entry: state})

            def reset(self, *, seed: int | None = None, options: Any = None) -> tuple:
                observation, info = self.env.reset(seed=seed, options=options)
                return self.both(observation, info), info

            def step(self, action: Any) -> tuple:
                observation, *outcome, info = self.env.step(action)
                return self.both(observation, info), *outcome, info

            def both(self, observation: Any, info: dict[str, Any]) -> dict[str, Any]:
                parts = observation if self.nested else {"observation": observation}
                return {**parts, entry: np.asarray(info[entry], np.float32)}

        return CriticState(make())

    return shown


def _kept_keys(space: Any) -> list[str] | None:
    if not any(cls.__name__ == "Dict" for cls in type(space).__mro__) or not any(map(is_text, space.spaces.values())):
        return None
    return [name for name, part in space.spaces.items() if not is_text(part)]


def text_left_out(env: Any) -> Any:
    """Give the observation space of an environment without strings.

    Args:
        env: The environment.
    """
    kept = _kept_keys(env.observation_space)
    if kept is None:
        return env.observation_space
    return type(env.observation_space)({name: env.observation_space[name] for name in kept})


def in_worker(make: Callable[[], Any]) -> Callable[[], Any]:
    """Make environments in a process of their own.

    Args:
        make: Makes an environment.
    """

    # By value, too. The main process decides when the others end. What the keyboard or `timeout` sends reaches all of
    # its group, so they leave it; a process with a group of its own can be ended together with what it started.
    def start() -> Any:
        import multiprocessing
        import os
        import signal
        import sys

        if multiprocessing.parent_process() is not None:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # closes the environment
            os.setpgid(0, 0)
        return make()

    return start
