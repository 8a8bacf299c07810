"""PeriodicObservation: observe only every few steps."""

from typing import Any

import jax
import jax.numpy as jnp

from memorax.core.checks import check, steps
from memorax.core.spaces import Space, blank, with_blank
from memorax.core.types import Array, PyTree
from memorax.environments.wrappers.base import HistoryWrapper, keep_mask


class PeriodicObservation(HistoryWrapper):
    """Show the first observation of an episode and then every `period`-th; nothing in between.

    Nothing is zeros, and for discrete observations one number more, `n`: see `memorax.core.spaces.with_blank`. An
    action mask is always shown.
    """

    def __init__(self, env: Any, period: int) -> None:
        """Wrap an environment.

        Args:
            env: Any object that `as_environment` takes.
            period: Steps between two observations, at least 1; 1 shows all.

        Raises:
            TypeError: If `period` is not an integer.
            ValueError: If `period` is below 1.
        """
        super().__init__(env)
        self.period = check("period", period, steps())
        self._space = self.env.observation_space(self.env.default_params)
        with_blank(self._space)

    def first(self, observation: PyTree) -> tuple[PyTree, Array]:
        """Show the observation."""
        return observation, jnp.zeros((), jnp.int32)

    def next(self, history: Array, observation: PyTree, action: Array, reward: Array) -> tuple[PyTree, Array]:
        """Show the observation if it is due."""
        since = (history + 1) % self.period
        nothing = blank(self._space, observation)
        shown = jax.tree.map(lambda x, y: jnp.where(since == 0, x, y), observation, nothing)
        return keep_mask(shown, observation), since

    def observation_space(self, params: PyTree | None = None) -> Space:
        """The space of the inner environment with what stands for nothing."""
        space = self.env.observation_space(params)
        return keep_mask(with_blank(space), space)
