"""DelayedObservation: observe everything some steps late."""

from typing import Any

import jax
import jax.numpy as jnp

from memorax.core.checks import check, size
from memorax.core.spaces import Space, blank, with_blank
from memorax.core.types import Array, PyTree
from memorax.environments.wrappers.base import HistoryWrapper, keep_mask


class DelayedObservation(HistoryWrapper):
    """Observe what was to be observed some steps ago; nothing in the first steps of an episode.

    Nothing is zeros, and for discrete observations one number more, `n`: see `memorax.core.spaces.with_blank`.
    Observations of the previous episode are never shown. An action mask is not delayed.
    """

    def __init__(self, env: Any, steps: int) -> None:
        """Wrap an environment.

        Args:
            env: Any object that `as_environment` takes.
            steps: Delay in steps, at least 1.

        Raises:
            TypeError: If `steps` is not an integer.
            ValueError: If `steps` is below 1.
        """
        super().__init__(env)
        self.steps = check("steps", steps, size())
        self._space = self.env.observation_space(self.env.default_params)
        with_blank(self._space)

    def first(self, observation: PyTree) -> tuple[PyTree, PyTree]:
        """Show nothing; queue the observation behind nothing."""
        nothing = blank(self._space, observation)

        def fill(x: Array, nothing: Array) -> Array:
            return jnp.broadcast_to(nothing, (self.steps, *x.shape)).at[-1].set(x)

        return keep_mask(nothing, observation), jax.tree.map(fill, observation, nothing)

    def next(self, history: PyTree, observation: PyTree, action: Array, reward: Array) -> tuple[PyTree, PyTree]:
        """Show the oldest observation of the queue."""
        oldest = jax.tree.map(lambda queue: queue[0], history)
        queue = jax.tree.map(lambda queue, x: jnp.concatenate([queue[1:], x[None]]), history, observation)
        return keep_mask(oldest, observation), queue

    def observation_space(self, params: PyTree | None = None) -> Space:
        """The space of the inner environment with what stands for nothing."""
        space = self.env.observation_space(params)
        return keep_mask(with_blank(space), space)
