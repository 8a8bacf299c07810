"""FrameStack: observe the last few observations at once."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from memorax.core.checks import check, size
from memorax.core.spaces import Box, Discrete, MultiBinary, MultiDiscrete, Space, change_space
from memorax.core.types import Array, PyTree
from memorax.environments.wrappers.base import HistoryWrapper, keep_mask


class FrameStack(HistoryWrapper):
    """Concatenate the last observations of the episode along the last axis, the newest last.

    Discrete observations become a MultiDiscrete, a number for each. At the start of an episode its first observation
    fills the missing ones. An action mask is not stacked. The optimal return stays the same; the memoryless one is not
    known.
    """

    def __init__(self, env: Any, frames: int) -> None:
        """Wrap an environment.

        Args:
            env: Any object that `as_environment` takes.
            frames: Number of observations, at least 1.

        Raises:
            TypeError: If `frames` is not an integer.
            ValueError: If `frames` is below 1.
        """
        super().__init__(env)
        self.frames = check("frames", frames, size())

    @property
    def optimal_return(self) -> float | None:  # type: ignore[override]
        """Expected return of the optimal policy with memory: nothing is hidden."""
        return self.env.optimal_return

    def first(self, observation: PyTree) -> tuple[PyTree, PyTree]:
        """The first observation, repeated."""
        frames = jax.tree.map(lambda x: jnp.repeat(x[None], self.frames, axis=0), observation)
        return keep_mask(jax.tree.map(_concatenate, frames), observation), frames

    def next(self, history: PyTree, observation: PyTree, action: Array, reward: Array) -> tuple[PyTree, PyTree]:
        """The last observations."""
        frames = jax.tree.map(lambda seen, x: jnp.concatenate([seen[1:], x[None]]), history, observation)
        return keep_mask(jax.tree.map(_concatenate, frames), observation), frames

    def observation_space(self, params: PyTree | None = None) -> Space:
        """The space of the inner environment, repeated."""
        space = self.env.observation_space(params)
        return keep_mask(change_space(self._stacked, space), space)

    def _stacked(self, space: Any) -> Space:
        if isinstance(space, Discrete):
            return MultiDiscrete([space.n] * self.frames, space.dtype)
        if isinstance(space, MultiBinary):
            return MultiBinary((*space.shape[:-1], space.shape[-1] * self.frames), space.dtype)
        if isinstance(space, MultiDiscrete):
            return MultiDiscrete(self._repeat(np.reshape(space.nvec, space.shape)), space.dtype)
        low, high = self._repeat(space.low), self._repeat(space.high)
        return Box(low, high, low.shape, space.dtype)

    def _repeat(self, x: np.ndarray) -> np.ndarray:
        return np.concatenate([np.atleast_1d(x)] * self.frames, axis=-1)


def _concatenate(frames: Array) -> Array:
    return frames if frames.ndim == 1 else jnp.concatenate(list(frames), axis=-1)
