"""DelayedObservation: observe everything some steps late."""

from typing import Any

import jax
import jax.numpy as jnp

from memorax.core.checks import check, size
from memorax.core.spaces import Space
from memorax.core.types import Array, PyTree
from memorax.environments.wrappers.base import HistoryWrapper, map_boxes, with_zero


class DelayedObservation(HistoryWrapper):
    """Observe what was to be observed some steps ago; zeros in the first steps of an episode.

    Observations of the previous episode are never shown.
    """

    def __init__(self, env: Any, steps: int) -> None:
        """Wrap an environment.

        Args:
            env: Any object that `as_environment` takes, with observations in boxes.
            steps: Delay in steps, at least 1.

        Raises:
            TypeError: If `steps` is not an integer or the observations are of another kind.
            ValueError: If `steps` is below 1.
        """
        super().__init__(env)
        self.steps = check("steps", steps, size())
        self.observation_space(self.env.default_params)

    def first(self, observation: PyTree) -> tuple[PyTree, PyTree]:
        """Show zeros; queue the observation behind zeros."""
        nothing = jax.tree.map(jnp.zeros_like, observation)
        queue = jax.tree.map(lambda x: jnp.zeros((self.steps, *x.shape), x.dtype).at[-1].set(x), observation)
        return nothing, queue

    def next(self, history: PyTree, observation: PyTree, action: Array, reward: Array) -> tuple[PyTree, PyTree]:
        """Show the oldest observation of the queue."""
        oldest = jax.tree.map(lambda queue: queue[0], history)
        queue = jax.tree.map(lambda queue, x: jnp.concatenate([queue[1:], x[None]]), history, observation)
        return oldest, queue

    def observation_space(self, params: PyTree | None = None) -> Space:
        """The space of the inner environment and zero."""
        return map_boxes(with_zero, self.env.observation_space(params), type(self).__name__)
