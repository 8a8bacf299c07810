"""FrameStack: observe the last few observations at once."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from memorax.core.checks import check, size
from memorax.core.spaces import Box, Space
from memorax.core.types import Array, PyTree
from memorax.environments.wrappers.base import HistoryWrapper, map_boxes


class FrameStack(HistoryWrapper):
    """Concatenate the last observations of the episode along the last axis, the newest last.

    At the start of an episode its first observation fills the missing ones. The optimal return stays the same; the
    memoryless one is not known.
    """

    def __init__(self, env: Any, frames: int) -> None:
        """Wrap an environment.

        Args:
            env: Any object that `as_environment` takes, with observations in boxes.
            frames: Number of observations, at least 1.

        Raises:
            TypeError: If `frames` is not an integer or the observations are of another kind.
            ValueError: If `frames` is below 1.
        """
        super().__init__(env)
        self.frames = check("frames", frames, size())
        self.observation_space(self.env.default_params)

    @property
    def optimal_return(self) -> float | None:  # type: ignore[override]
        """Expected return of the optimal policy with memory: nothing is hidden."""
        return self.env.optimal_return

    def first(self, observation: PyTree) -> tuple[PyTree, PyTree]:
        """The first observation, repeated."""
        frames = jax.tree.map(lambda x: jnp.repeat(x[None], self.frames, axis=0), observation)
        return jax.tree.map(_concatenate, frames), frames

    def next(self, history: PyTree, observation: PyTree, action: Array, reward: Array) -> tuple[PyTree, PyTree]:
        """The last observations."""
        frames = jax.tree.map(lambda seen, x: jnp.concatenate([seen[1:], x[None]]), history, observation)
        return jax.tree.map(_concatenate, frames), frames

    def observation_space(self, params: PyTree | None = None) -> Space:
        """The space of the inner environment, repeated."""
        return map_boxes(self._stacked, self.env.observation_space(params), type(self).__name__)

    def _stacked(self, box: Box) -> Box:
        low, high = (np.concatenate([np.atleast_1d(bound)] * self.frames, axis=-1) for bound in (box.low, box.high))
        return Box(low, high, low.shape, box.dtype)


def _concatenate(frames: Array) -> Array:
    return frames if frames.ndim == 1 else jnp.concatenate(list(frames), axis=-1)
