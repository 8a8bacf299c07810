"""FlickeringObservation: hide observations at random."""

from typing import Any

import jax
import jax.numpy as jnp

from memorax.core.checks import check, real
from memorax.core.spaces import Space, blank, with_blank
from memorax.core.types import Key, PyTree
from memorax.environments.wrappers.base import ObservationWrapper, keep_mask


class FlickeringObservation(ObservationWrapper):
    """Hide each observation, as a whole, with a given probability.

    What is shown then is zeros, and for discrete observations one number more, `n`: see
    `memorax.core.spaces.with_blank`. An action mask is never hidden.

    Source: Hausknecht & Stone (2015), Deep Recurrent Q-Learning for Partially Observable MDPs,
    https://arxiv.org/abs/1507.06527.
    """

    def __init__(self, env: Any, probability: float = 0.5) -> None:
        """Wrap an environment.

        Args:
            env: Any object that `as_environment` takes.
            probability: Probability that an observation is hidden, in `[0, 1]`.

        Raises:
            TypeError: If `probability` is not a number.
            ValueError: If `probability` is out of range.
        """
        super().__init__(env)
        self.probability = float(check("probability", probability, real(0, 1)))
        self._space = self.env.observation_space(self.env.default_params)
        with_blank(self._space)

    def transform(self, key: Key, observation: PyTree) -> PyTree:
        """The observation, or what stands for nothing."""
        hidden = jax.random.bernoulli(key, self.probability)
        nothing = blank(self._space, observation)
        return keep_mask(jax.tree.map(lambda x, y: jnp.where(hidden, y, x), observation, nothing), observation)

    def observation_space(self, params: PyTree | None = None) -> Space:
        """The space of the inner environment with what stands for nothing."""
        space = self.env.observation_space(params)
        return keep_mask(with_blank(space), space)
