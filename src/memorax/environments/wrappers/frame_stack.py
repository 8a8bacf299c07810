"""FrameStack: see the last few observations at once."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from memorax.core.checks import whole
from memorax.core.spaces import Box, Space
from memorax.core.types import Array, PyTree
from memorax.environments.wrappers.base import HistoryWrapper, map_boxes


class FrameStack(HistoryWrapper):
    """Show the last observations of the episode side by side on the last axis, the newest last.

    At the start of an episode its first observation stands for those that are missing. The best return stays what it
    is; that of the best policy without memory is not known.
    """

    def __init__(self, env: Any, frames: int) -> None:
        """Wrap an environment.

        Args:
            env: Any object that `as_environment` takes, with observations in boxes.
            frames: How many observations are shown at once, at least 1.

        Raises:
            TypeError: If `frames` is not an integer or the observations are of another kind.
            ValueError: If `frames` is below 1.
        """
        super().__init__(env)
        self.frames = frames
        whole(self, "frames", 1)
        self.observation_space(self.env.default_params)

    @property
    def optimal_return(self) -> float | None:  # type: ignore[override]
        """Expected return of the best policy with memory: nothing is hidden."""
        return self.env.optimal_return

    def begin(self, observation: PyTree) -> tuple[PyTree, PyTree]:
        """Show the first observation several times."""
        frames = jax.tree.map(lambda x: jnp.repeat(x[None], self.frames, axis=0), observation)
        return jax.tree.map(_side_by_side, frames), frames

    def go_on(self, history: PyTree, observation: PyTree, action: Array, reward: Array) -> tuple[PyTree, PyTree]:
        """Show the last observations."""
        frames = jax.tree.map(lambda seen, x: jnp.concatenate([seen[1:], x[None]]), history, observation)
        return jax.tree.map(_side_by_side, frames), frames

    def observation_space(self, params: PyTree | None = None) -> Space:
        """The space of the inner environment, several times."""
        return map_boxes(self._stacked, self.env.observation_space(params), type(self).__name__)

    def _stacked(self, box: Box) -> Box:
        low, high = (np.concatenate([np.atleast_1d(bound)] * self.frames, axis=-1) for bound in (box.low, box.high))
        return Box(low, high, low.shape, box.dtype)


def _side_by_side(frames: Array) -> Array:
    return frames if frames.ndim == 1 else jnp.concatenate(list(frames), axis=-1)
