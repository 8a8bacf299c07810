"""Environments that each ask one question of an agent."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from memorax.core.spaces import Box, Dict, Discrete, Space, map_space
from memorax.core.types import Array, Key, PyTree
from memorax.environments import Environment


@struct.dataclass
class Params:
    """No parameters."""


@struct.dataclass
class ClockState:
    """Step of the episode, and the number of its steps."""

    time: Array
    length: Array


class Clock(Environment):
    """Pays 1 for every step; the observation is the step of the episode. Is a truncated episode known to go on?

    Args:
        ends: How episodes end: `"terminated"`, `"truncated"`, `"both"` at once, or `"never"`.
        min_length: Steps of the shortest episode.
        max_length: Steps of the longest episode.
        action_space: The action space; None for three discrete actions.
        blind: Whether the observation is always zero.
    """

    def __init__(
        self,
        ends: str = "terminated",
        min_length: int = 3,
        max_length: int = 5,
        *,
        action_space: Space | None = None,
        blind: bool = False,
    ) -> None:
        self.ends, self.lengths, self.blind = ends, (min_length, max_length), blind
        self._action_space = Discrete(3) if action_space is None else action_space

    @property
    def default_params(self) -> Params:
        """No parameters."""
        return Params()

    def action_space(self, params: Any = None) -> Space:
        """The action space."""
        return self._action_space

    def observation_space(self, params: Any = None) -> Space:
        """One number."""
        return Box(0.0, 1e6, (1,))

    def reset_env(self, key: Key, params: Any) -> tuple[PyTree, Any]:
        """Start an episode of random length."""
        length = jax.random.randint(key, (), self.lengths[0], self.lengths[1] + 1)
        return jnp.zeros(1), ClockState(jnp.zeros((), jnp.int32), length)

    def step_env(self, key: Key, state: Any, action: PyTree, params: Any) -> tuple:
        """Count one step.

        Raises:
            TypeError: The action has another structure, shape or dtype than the action space.
        """
        require_form(self._action_space, action)
        state = state.replace(time=state.time + 1)
        terminated = (state.time >= state.length) & (self.ends in ("terminated", "both"))
        observation = (0 if self.blind else 1) * state.time[None].astype(jnp.float32)
        return observation, state, jnp.float32(1.0), terminated, {}

    def is_truncated(self, state: Any, params: Any) -> Any:
        """Whether the time limit is reached."""
        return (state.time >= state.length) & (self.ends in ("truncated", "both"))


def require_form(space: Space, action: PyTree) -> None:
    """Require an action nested as its space is, with the shapes and dtypes of the space.

    Raises:
        TypeError: It is not.
    """
    wanted = map_space(lambda part: (part.shape, part.dtype), space)
    given = jax.tree.map(lambda x: (x.shape, x.dtype), action)
    if given != wanted:
        raise TypeError(f"`action` must have the form of {space!r}, {wanted}, got {given}")


class MixedEnds(Clock):
    """A clock whose episodes of odd lengths are truncated, and whose others terminate."""

    def __init__(self) -> None:
        super().__init__("both", min_length=1, max_length=4)

    def step_env(self, key: Key, state: Any, action: Array, params: Any) -> tuple:
        """Count one step."""
        observation, state, reward, terminated, info = super().step_env(key, state, action, params)
        return observation, state, reward, terminated & (state.length % 2 == 0), info


class Scaled(Clock):
    """A clock that shows the episode's length too, and pays by it and by the action. Do units matter to the agent?

    Args:
        unit: Unit of the observation.
        pay: Unit of the reward.
        ends: As in `Clock`.
    """

    def __init__(self, unit: float = 1.0, pay: float = 1.0, ends: str = "truncated") -> None:
        super().__init__(ends)
        self.unit, self.pay = unit, pay

    def show(self, state: Any) -> Array:
        """Make the observation of a state."""
        return self.unit * (state.time + 3 * state.length).astype(jnp.float32)[None]

    def reset_env(self, key: Key, params: Any) -> tuple[PyTree, Any]:
        """Start an episode."""
        _, state = super().reset_env(key, params)
        return self.show(state), state

    def step_env(self, key: Key, state: Any, action: Array, params: Any) -> tuple:
        """Count one step."""
        _, state, _, terminated, info = super().step_env(key, state, action, params)
        return self.show(state), state, self.pay * (state.length + action - 3.0), terminated, info


class PaysActions(Clock):
    """A clock that pays the number of the action."""

    def step_env(self, key: Key, state: Any, action: Array, params: Any) -> tuple:
        """Count one step."""
        observation, state, _, terminated, info = super().step_env(key, state, action, params)
        return observation, state, jnp.asarray(action, jnp.float32), terminated, info


@struct.dataclass
class RecallState:
    """The cue, and the step of the episode."""

    cue: Array
    time: Array


class Recall(Environment):
    """Shows one of two cues, then nothing, then pays 1 for naming the cue, else -1. Does the agent remember?

    Args:
        delay: Steps between the cue and the question.
    """

    def __init__(self, delay: int = 3) -> None:
        self.delay = delay

    @property
    def default_params(self) -> Params:
        """No parameters."""
        return Params()

    def action_space(self, params: Any = None) -> Space:
        """Two cues."""
        return Discrete(2)

    def observation_space(self, params: Any = None) -> Space:
        """The cue, and whether it is asked for."""
        return Box(-1.0, 1.0, (2,))

    def reset_env(self, key: Key, params: Any) -> tuple[PyTree, Any]:
        """Draw a cue."""
        state = RecallState(jax.random.randint(key, (), 0, 2), jnp.zeros((), jnp.int32))
        return self.observe(state), state

    def observe(self, state: Any) -> Array:
        """Make the observation of a state."""
        cue = jnp.where(state.time == 0, 2.0 * state.cue - 1.0, 0.0)
        return jnp.stack([cue, (state.time == self.delay).astype(jnp.float32)])

    def step_env(self, key: Key, state: Any, action: Array, params: Any) -> tuple:
        """Count one step; the last one pays."""
        end = state.time == self.delay
        reward = jnp.where(end, jnp.where(action == state.cue, 1.0, -1.0), 0.0)
        state = state.replace(time=state.time + 1)
        return self.observe(state), state, reward, end, {}


class Masked(Clock):
    """A clock that allows one action at a time, and pays -100 for any other. Does the agent respect the mask?

    Args:
        where: Whether the mask is in the `"observation"` or in `"info"`.
    """

    def __init__(self, where: str = "observation") -> None:
        super().__init__()
        self.where = where

    def observation_space(self, params: Any = None) -> Space:
        """The step of the episode, with the mask where it belongs there."""
        time, mask = Box(0.0, 1e6, (1,)), Box(0, 1, (3,), bool)
        return Dict({"time": time, "action_mask": mask}) if self.where == "observation" else time

    def mask(self, state: Any) -> Array:
        """Make the mask of allowed actions."""
        # A mask in `info` cannot describe the observation of `reset`, which has no `info`: all is allowed there.
        return (jnp.arange(3) == state.time % 3) | ((state.time == 0) & (self.where == "info"))

    def wrap(self, observation: Array, state: Any) -> PyTree:
        """Put the mask into the observation where it belongs there."""
        return {"time": observation, "action_mask": self.mask(state)} if self.where == "observation" else observation

    def reset_env(self, key: Key, params: Any) -> tuple[PyTree, Any]:
        """Start an episode."""
        observation, state = super().reset_env(key, params)
        return self.wrap(observation, state), state

    def step_env(self, key: Key, state: Any, action: Array, params: Any) -> tuple:
        """Count one step."""
        allowed = self.mask(state)[action]
        observation, state, reward, terminated, _ = super().step_env(key, state, action, params)
        info = {} if self.where == "observation" else {"action_mask": self.mask(state) | terminated}
        return self.wrap(observation, state), state, jnp.where(allowed, reward, -100.0), terminated, info


class LooselyTyped(Clock):
    """Begins with Python numbers and ends up with arrays, as many environments do. Does the state keep its types?"""

    def reset_env(self, key: Key, params: Any) -> tuple[PyTree, Any]:
        """Start with Python numbers."""
        return jnp.zeros(1), {"time": 0, "reward": 0}

    def step_env(self, key: Key, state: Any, action: Array, params: Any) -> tuple:
        """Count one step."""
        state = {"time": state["time"] + 1, "reward": state["reward"] + 0.5}
        return jnp.ones(1) * state["time"], state, 1, state["time"] >= 4, {}

    def is_truncated(self, state: Any, params: Any) -> Any:
        """Never."""
        return False
