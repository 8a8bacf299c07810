"""The protocol of environments: what `reset` and `step` return, checked with one sentence for what they do not."""

import inspect
from typing import Any

from memorax.core.types import PyTree

SIX, FIVE = 6, 5
"""Values that `step` returns, and returned in gymnax 0.x."""


_METHODS = ("reset", "step", "action_space", "observation_space")


def refuse_other_objects(env: Any) -> None:
    """Refuse what is not an environment that can be adapted.

    Args:
        env: Any object.

    Raises:
        TypeError: If it is a class, lacks a method, or has one with other arguments.
    """
    if isinstance(env, type):
        raise TypeError(f"`env` must be an environment, got the class {env.__name__}; write `{env.__name__}(...)`")
    missing = [name for name in _METHODS if not hasattr(env, name)]
    if missing:
        raise TypeError(
            f"`env` must have {', '.join(f'`{name}`' for name in _METHODS)}, got {type(env).__name__} without "
            f"{', '.join(f'`{name}`' for name in missing)}"
        )
    if not _takes_two(env.reset):
        raise TypeError(
            f"`reset` of {type(env).__name__} must take (key, params), got {inspect.signature(env.reset)}; derive an "
            "environment that runs in Python from `gymnasium.Env`"
        )


def _takes_two(function: Any) -> bool:
    """Whether a function takes two arguments by position, as far as its signature is known."""
    try:
        inspect.signature(function).bind(None, None)
    except TypeError:
        return False
    except ValueError:  # it has none
        return True
    return True


def reset_values(env: Any, started: Any) -> tuple[PyTree, PyTree]:
    """Check what `reset` returns.

    Args:
        env: The environment, for the message.
        started: What it returned.

    Raises:
        TypeError: If it is not a pair.
    """
    if not isinstance(started, tuple) or len(started) != 2:
        raise TypeError(f"`reset` of {type(env).__name__} must return (observation, state), got {form(started)}")
    return started


def step_values(env: Any, stepped: Any, allowed: tuple[int, ...] = (SIX,)) -> tuple[Any, ...]:
    """Check what `step` returns.

    Args:
        env: The environment, for the message.
        stepped: What it returned.
        allowed: Numbers of values that are allowed: six, and five for the older form.

    Raises:
        TypeError: If it is not a tuple of so many values, or `info` is not a dictionary.
        ValueError: If there are six values and `info` lacks `final_observation`.
    """
    if not isinstance(stepped, tuple) or len(stepped) not in allowed:
        older = " or the older (observation, state, reward, done, info)" if FIVE in allowed else ""
        old_gym = "; those of the old gym are not supported" if form(stepped) in ("3 values", "4 values") else ""
        values = f"(observation, state, reward, terminated, truncated, info){older}"
        raise TypeError(f"`step` of {type(env).__name__} must return {values}, got {form(stepped)}{old_gym}")
    info = stepped[-1]
    if not isinstance(info, dict):
        raise TypeError(f"`info` of {type(env).__name__}.step must be a dict, got {form(info)}")
    if len(stepped) == SIX and "final_observation" not in info:
        raise ValueError(
            f"`info` of {type(env).__name__}.step must hold `final_observation`, got {form(info)}; where `step` does "
            "not reset, wrap the environment in AutoReset"
        )
    return stepped


def form(value: Any) -> str:
    """Describe what was returned, for a message: the number of values, the shape of an array, the keys of a dict."""
    if isinstance(value, dict):
        return f"a dict with keys {sorted(value)}"
    if hasattr(value, "shape"):
        return f"an array of shape {value.shape}"
    return f"{len(value)} values" if isinstance(value, tuple) else f"a {type(value).__name__}"
