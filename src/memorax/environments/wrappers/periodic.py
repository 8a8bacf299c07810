"""PeriodicObservation: observe only every few steps."""

from typing import Any

import jax
import jax.numpy as jnp

from memorax.core.checks import check, steps
from memorax.core.spaces import Space
from memorax.core.types import Array, PyTree
from memorax.environments.wrappers.base import HistoryWrapper, map_boxes, with_zero


class PeriodicObservation(HistoryWrapper):
    """Show the first observation of an episode and then every `period`-th; zeros in between."""

    def __init__(self, env: Any, period: int) -> None:
        """Wrap an environment.

        Args:
            env: Any object that `as_environment` takes, with observations in boxes.
            period: Steps between two observations, at least 1; 1 shows all.

        Raises:
            TypeError: If `period` is not an integer or the observations are of another kind.
            ValueError: If `period` is below 1.
        """
        super().__init__(env)
        self.period = check("period", period, steps())
        self.observation_space(self.env.default_params)

    def first(self, observation: PyTree) -> tuple[PyTree, Array]:
        """Show the observation."""
        return observation, jnp.zeros((), jnp.int32)

    def next(self, history: Array, observation: PyTree, action: Array, reward: Array) -> tuple[PyTree, Array]:
        """Show the observation if it is due."""
        since = (history + 1) % self.period
        return jax.tree.map(lambda x: jnp.where(since == 0, x, jnp.zeros_like(x)), observation), since

    def observation_space(self, params: PyTree | None = None) -> Space:
        """The space of the inner environment and zero."""
        return map_boxes(with_zero, self.env.observation_space(params), type(self).__name__)
