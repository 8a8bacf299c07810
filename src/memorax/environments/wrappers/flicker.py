"""FlickeringObservation: hide observations at random."""

from typing import Any

import jax
import jax.numpy as jnp

from memorax.core.checks import check, real
from memorax.core.spaces import Space
from memorax.core.types import Key, PyTree
from memorax.environments.wrappers.base import ObservationWrapper, map_boxes, with_zero


class FlickeringObservation(ObservationWrapper):
    """Replace each observation, as a whole, by zeros with a given probability.

    Source: Hausknecht & Stone (2015), Deep Recurrent Q-Learning for Partially Observable MDPs,
    https://arxiv.org/abs/1507.06527.
    """

    def __init__(self, env: Any, probability: float = 0.5) -> None:
        """Wrap an environment.

        Args:
            env: Any object that `as_environment` takes, with observations in boxes.
            probability: Probability that an observation is hidden, in `[0, 1]`.

        Raises:
            TypeError: If `probability` is not a number or the observations are of another kind.
            ValueError: If `probability` is out of range.
        """
        super().__init__(env)
        self.probability = float(check("probability", probability, real(0, 1)))
        self.observation_space(self.env.default_params)

    def transform(self, key: Key, observation: PyTree) -> PyTree:
        """The observation, or zeros."""
        hidden = jax.random.bernoulli(key, self.probability)
        return jax.tree.map(lambda x: jnp.where(hidden, jnp.zeros_like(x), x), observation)

    def observation_space(self, params: PyTree | None = None) -> Space:
        """The space of the inner environment and zero."""
        return map_boxes(with_zero, self.env.observation_space(params), type(self).__name__)
