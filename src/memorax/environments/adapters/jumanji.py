"""The environments of Jumanji, as `jumanji::<id>`."""

import warnings
from typing import Any

import jax.numpy as jnp
import numpy as np

from memorax.core.spaces import Box, Dict, Discrete, MultiDiscrete, Space
from memorax.core.types import Array, Key, PyTree
from memorax.environments.adapters.raw import (
    Raw,
    RawEnvironment,
    RawState,
    check_name,
    import_library,
    joint_action,
    pooled,
)
from memorax.environments.environment import Environment

jumanji = import_library("jumanji", "jumanji")


def names() -> tuple[str, ...]:
    """Ids of all environments of the library."""
    return tuple(sorted(jumanji.registered_environments()))


def make(name: str, *, reset_pool: int | None = 16, **kwargs: Any) -> tuple[Environment, PyTree]:
    """Make an environment of Jumanji.

    Args:
        name: Id in Jumanji, for example `Maze-v0`.
        reset_pool: How many resets are computed at once for the environments whose episode ended; None computes one
            for every environment in every step.
        **kwargs: Arguments of its constructor, for example `time_limit`.

    Returns:
        The environment and its parameters, of which it has none.

    Raises:
        ValueError: If Jumanji has no such environment.
    """
    check_name("jumanji", name, names())
    return pooled(Jumanji(name, jumanji.make(name, **kwargs)), reset_pool)


class Jumanji(RawEnvironment):
    """An environment of Jumanji.

    An observation is a Dict of what Jumanji shows, without the mask. Where an action has several parts (row, column
    and digit, say) and the mask is one of their combinations, an action is one of all combinations; where there are
    several agents, it has a part for each, and rewards are summed. An end at `time_limit` is a truncation, which
    Jumanji itself calls a termination.

    Args:
        name: Id in Jumanji.
        env: The library's environment.
    """

    def __init__(self, name: str, env: Any) -> None:
        self._masked = hasattr(env.observation_spec, "action_mask")
        mask = env.observation_spec.action_mask.shape if self._masked else None
        actions, self._parts = _actions(env.action_spec, mask)
        super().__init__(name, env, observation_space=_space(env.observation_spec, True), action_space=actions)

    def begin(self, key: Key, params: PyTree) -> tuple[PyTree, PyTree]:
        """Start an episode."""
        state, timestep = self.foreign.reset(key)
        return self._split(state, timestep)

    def advance(self, key: Key, inner: PyTree, action: Array, params: PyTree) -> Raw:
        """Take one step; the state itself holds the key."""
        state, timestep = self.foreign.step(inner["state"], self._parts(action))
        observation, inner = self._split(state, timestep)
        late = jnp.zeros((), bool)
        limit = getattr(self.foreign, "time_limit", None)
        if limit is not None and hasattr(state, "step_count"):
            late = state.step_count >= limit
        last = timestep.last()
        truncated = last & (late | jnp.any(timestep.discount != 0))
        return observation, inner, jnp.sum(timestep.reward), last & ~truncated, truncated

    def _split(self, state: PyTree, timestep: Any) -> tuple[PyTree, PyTree]:
        inner = {"state": state}
        if self._masked:
            # Of several parts that are one choice, the mask is one row.
            mask = timestep.observation.action_mask
            inner["mask"] = mask.ravel() if isinstance(self._action_space, Discrete) else mask
        return _observation(timestep.observation, self.foreign.observation_spec, True), inner

    def legal_actions(self, inner: PyTree) -> Array | None:
        """Which actions are valid."""
        return inner.get("mask")

    def render(self, state: RawState, params: PyTree | None = None) -> np.ndarray:
        """Paint a state as the library does, by matplotlib on the host: uint8 RGB `[height, width, 3]`."""
        from matplotlib import pyplot
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        backend = pyplot.get_backend()
        pyplot.switch_backend("agg")  # any other one would open a window
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that nobody sees the figure
                self.foreign.render(state.inner["state"])
            figure = pyplot.gcf()
            canvas = FigureCanvasAgg(figure)
            canvas.draw()
            pyplot.close(figure)
            return np.array(canvas.buffer_rgba())[..., :3]
        finally:
            pyplot.switch_backend(backend)


def _parts_of(spec: Any, outermost: bool) -> list[str]:
    """Names of the parts of a nested spec; none for an array."""
    return [name for name in getattr(spec, "_specs", {}) if not (outermost and name == "action_mask")]


def _space(spec: Any, outermost: bool = False) -> Space:
    if parts := _parts_of(spec, outermost):
        spaces = {name: _space(spec[name]) for name in parts}
        return spaces[parts[0]] if outermost and len(parts) == 1 else Dict(spaces)
    low, high = getattr(spec, "minimum", -np.inf), getattr(spec, "maximum", np.inf)
    return Box(np.asarray(low), np.asarray(high), spec.shape, spec.dtype)


def _observation(value: Any, spec: Any, outermost: bool = False) -> PyTree:
    if parts := _parts_of(spec, outermost):
        values = {name: _observation(getattr(value, name), spec[name]) for name in parts}
        return values[parts[0]] if outermost and len(parts) == 1 else values
    return value


def _actions(spec: Any, mask: tuple[int, ...] | None) -> tuple[Space, Any]:
    """The space of actions, and what turns one into an action of the library."""
    if np.issubdtype(spec.dtype, np.floating):
        return Box(np.asarray(spec.minimum), np.asarray(spec.maximum), spec.shape), lambda action: action
    sizes = np.broadcast_to(np.asarray(spec.maximum) - np.asarray(spec.minimum) + 1, spec.shape)
    if not spec.shape:
        return Discrete(int(sizes)), lambda action: action
    if mask in (None, tuple(sizes)):
        space, split = joint_action(tuple(int(n) for n in sizes))
        return space, lambda action: split(action).astype(spec.dtype)
    return MultiDiscrete(sizes.ravel()), lambda action: action.reshape(spec.shape).astype(spec.dtype)
