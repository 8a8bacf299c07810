"""Time limits of environments that report a single `done`: found by the names they are known to have."""

import re
import warnings
from typing import Any

import jax.numpy as jnp

from memorax.core.types import Array, PyTree

_CLOCKS = ("time", "timestep", "step_count", "t", "step", "steps", "num_steps", "time_step", "episode_step")
"""Names under which states count the steps of an episode: gymnax, Craftax, and others."""
_TIME_LIMITS = ("max_steps_in_episode", "max_timesteps", "max_episode_steps", "max_steps", "max_episode_length")
"""Names under which parameters hold the time limit of an episode."""
_LIKE_A_TIME_LIMIT = re.compile(r"horizon|(max|limit).*(step|time|length|tick)|(time|episode|step).*(max|limit|length)")


def split_done(done: Array, state: PyTree, params: PyTree, info: dict[str, Any]) -> tuple[Array, Array]:
    """Tell termination from truncation.

    Args:
        done: Whether the episode ended.
        state: State after the step.
        params: Parameters of the environment.
        info: Where it holds `"truncated"`, that decides.

    Returns:
        `(terminated, truncated)`. An end at the time limit is a truncation; without a known clock in the state and a
        known time limit in the parameters every end is a termination.
    """
    done = jnp.asarray(done).astype(bool)
    if "truncated" in info:
        truncated = jnp.asarray(info["truncated"]).astype(bool)
        return jnp.asarray(info.get("terminated", done & ~truncated)).astype(bool), truncated
    clock, limits = _clock(state), [name for name in _TIME_LIMITS if hasattr(params, name)]
    if clock is None or not limits:
        return done, jnp.zeros_like(done)
    truncated = done & (clock >= getattr(params, limits[0]))
    return done & ~truncated, truncated


def warn_of_time_limit(name: str, params: PyTree, state: PyTree | None) -> None:
    """Warn if parameters seem to hold a time limit of which `split_done` cannot make truncations.

    Args:
        name: Name of the environment.
        params: Its parameters.
        state: A state of it; None where it is not known after a step.
    """
    fields = list(params) if isinstance(params, dict) else list(getattr(params, "__dict__", {}))
    limits = [field for field in fields if field in _TIME_LIMITS or _LIKE_A_TIME_LIMIT.search(field)]
    if not limits or (state is not None and _clock(state) is not None and set(limits) & set(_TIME_LIMITS)):
        return
    why = "and no `step_env` shows its last step" if state is None else "but its name, or that of the clock, is unknown"
    warnings.warn(
        f"environment {name} has a parameter `{limits[0]}` that looks like a time limit, {why}: all ends count as "
        'terminations; let `step` report `info["truncated"]` to tell them apart',
        stacklevel=2,
    )


def _clock(state: PyTree) -> Any:
    """The number of completed steps that a state holds, if its name is known and it is a scalar."""
    clocks = [getattr(state, name) for name in _CLOCKS if hasattr(state, name)]
    return next((clock for clock in clocks if getattr(clock, "shape", ()) == ()), None)
