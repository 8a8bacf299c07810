"""An environment that asks of an agent to repeat an action, for any action space."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from memorax.core.spaces import Box, Dict, Discrete, Space, Tuple, encode, map_space
from memorax.core.types import Array, Key, PyTree
from memorax.testing.probe_environments import Clock, require_form


@struct.dataclass
class EchoState:
    """The action to repeat, which choices are allowed, step of the episode, and the number of its steps."""

    target: PyTree
    mask: PyTree
    time: Array
    length: Array


class Echo(Clock):
    """Shows an action and pays 1 for repeating it, by its parts. Is every part of an action learned?

    Args:
        action_space: The action space; a Box must have finite bounds.
        masked: Whether the observation holds a mask that forbids about half of the other discrete choices; a forbidden
            one costs 100.
    """

    def __init__(self, action_space: Space, *, masked: bool = False) -> None:
        super().__init__(action_space=action_space)
        self.masked = masked

    def observation_space(self, params: Any = None) -> Space:
        """The encoded action, and the mask where there is one."""
        space = self._action_space
        shown = jax.eval_shape(lambda key: encode(space, space.sample(key)), jax.random.key(0))
        observation = Box(-1e6, 1e6, shown.shape)
        return Dict({"target": observation, "action_mask": _mask_space(space)}) if self.masked else observation

    def reset_env(self, key: Key, params: Any) -> tuple[PyTree, Any]:
        """Start an episode of random length."""
        clock_key, own_key = jax.random.split(key)
        _, clock = super().reset_env(clock_key, params)
        return self._show(EchoState((), (), clock.time, clock.length), own_key)

    def step_env(self, key: Key, state: Any, action: PyTree, params: Any) -> tuple:
        """Compare the action with the one that was shown, and show another."""
        space = self._action_space
        require_form(space, action)
        parts = jax.tree.leaves(map_space(_agreement, space, action, state.target))
        reward = jnp.mean(jnp.stack(parts))
        if self.masked:
            allowed = jax.tree.leaves(map_space(_is_allowed, space, action, state.mask))
            reward = jnp.where(jnp.all(jnp.stack(allowed)), reward, -100.0)
        time = state.time + 1
        observation, state = self._show(EchoState((), (), time, state.length), key)
        return observation, state, reward, time >= state.length, {}

    def _show(self, state: Any, key: Key) -> tuple[PyTree, Any]:
        """Draw the next action to repeat."""
        target_key, mask_key = jax.random.split(key)
        target = self._action_space.sample(target_key)
        mask = map_space(partial(_draw_mask, mask_key), self._action_space, target) if self.masked else ()
        shown = encode(self._action_space, target)
        state = state.replace(target=target, mask=mask)
        return ({"target": shown, "action_mask": mask} if self.masked else shown), state


def _sizes(space: Any) -> tuple[int, ...]:
    return (space.n,) if isinstance(space, Discrete) else space.nvec


def _mask_space(space: Space) -> Any:
    if isinstance(space, Dict):
        return Dict({name: _mask_space(part) for name, part in space.spaces.items()})
    if isinstance(space, Tuple):
        return Tuple([_mask_space(part) for part in space.spaces])
    if isinstance(space, Box):
        raise TypeError(f"`action_space` must have discrete parts only to be masked, got {space!r}")
    return Box(0, 1, (sum(_sizes(space)),), bool)


def _draw_mask(key: Key, space: Any, target: Array) -> Array:
    choices = jnp.concatenate([jax.nn.one_hot(x, n) for x, n in zip(target.reshape(-1), _sizes(space), strict=True)])
    return (choices > 0) | jax.random.bernoulli(key, 0.5, choices.shape)


def _is_allowed(space: Any, action: Array, mask: Array) -> Array:
    sizes = _sizes(space)
    first = np.cumsum((0, *sizes[:-1]))
    return jnp.all(mask[first + action.reshape(-1).astype(jnp.int32)])


def _agreement(space: Any, action: Array, target: Array) -> Array:
    """How well a part of an action agrees, from 0 to 1."""
    if isinstance(space, Box):
        width = np.asarray(space.high, np.float32) - np.asarray(space.low, np.float32)
        return 1.0 - jnp.mean(jnp.abs(action - target) / width)
    return jnp.mean((action == target).astype(jnp.float32))
