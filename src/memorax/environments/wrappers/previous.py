"""PreviousActionReward: observe the previous action and reward."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from memorax.core.spaces import Box, Dict, Discrete, MultiDiscrete, Space, Tuple, encode
from memorax.core.types import Array, PyTree
from memorax.environments.wrappers.base import HistoryWrapper


class PreviousActionReward(HistoryWrapper):
    """Append the previous action and reward to the observation; zeros at the start of an episode.

    The result is one float32 vector of observation, action and reward, encoded by `core.spaces.encode` (one-hot where
    discrete). The networks of an agent can be given action and reward without it. The optimal return stays the same;
    the memoryless one is not known.
    """

    def __init__(self, env: Any) -> None:
        """Wrap an environment.

        Args:
            env: Any object that `as_environment` takes.

        Raises:
            TypeError: If `env` does not speak the protocol.
        """
        super().__init__(env)
        params = self.env.default_params
        self._observation, self._action = self.env.observation_space(params), self.env.action_space(params)
        low, high = zip(_bounds(self._observation), _bounds(self._action), strict=True)
        # Zeros stand for the missing action.
        lows, highs = (low[0], np.minimum(low[1], 0), [-np.inf]), (high[0], np.maximum(high[1], 0), [np.inf])
        self._space = Box(np.concatenate(lows), np.concatenate(highs))

    @property
    def optimal_return(self) -> float | None:  # type: ignore[override]
        """Expected return of the optimal policy with memory: nothing is hidden."""
        return self.env.optimal_return

    def first(self, observation: PyTree) -> tuple[Array, PyTree]:
        """Show the observation and zeros."""
        seen = encode(self._observation, observation)
        return jnp.pad(seen, (0, self._space.shape[0] - seen.shape[0])), ()

    def next(self, history: PyTree, observation: PyTree, action: Array, reward: Array) -> tuple[Array, PyTree]:
        """Show observation, action and reward; an action outside of its bounds is clipped to them."""
        parts = [encode(self._observation, observation), encode(self._action, action), reward[None]]
        return jnp.clip(jnp.concatenate(parts), self._space.low, self._space.high), ()

    def observation_space(self, params: PyTree | None = None) -> Box:
        """A vector of observation, action and reward."""
        return self._space


def _bounds(space: Space) -> tuple[np.ndarray, np.ndarray]:
    """Bounds of encoded values."""
    if isinstance(space, Dict | Tuple):
        parts = list(space.spaces.values() if isinstance(space, Dict) else space.spaces)
        low, high = zip(*(_bounds(part) for part in parts), strict=True)
        return np.concatenate(low), np.concatenate(high)
    if isinstance(space, Box):
        return space.low.ravel().astype(np.float32), space.high.ravel().astype(np.float32)
    if not isinstance(space, Discrete | MultiDiscrete):
        raise TypeError(f"`env` of PreviousActionReward must have spaces that can be encoded, got {space!r}")
    size = jax.eval_shape(partial(encode, space), jax.ShapeDtypeStruct(space.shape, space.dtype)).size
    return np.zeros(size, np.float32), np.ones(size, np.float32)
