"""NormalizeObservation: standardize observations by a given mean and variance."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from memorax.core.checks import check, check_broadcast, numbers, optional, real
from memorax.core.spaces import Box
from memorax.core.types import Array, Key, PyTree
from memorax.environments.wrappers.base import ObservationWrapper


class NormalizeObservation(ObservationWrapper):
    """Subtract a given mean from every observation and divide by a given standard deviation.

    Both are given and never change. Running statistics belong to the agent (`normalize_observations` of its config),
    which shares them among environments and freezes them in evaluation. Returns and memory length of the task stay the
    same, as long as no observation is clipped.
    """

    def __init__(self, env: Any, mean: Any, variance: Any, *, epsilon: float = 1e-8, clip: float | None = 10.0) -> None:
        """Wrap an environment.

        Args:
            env: Any object that `as_environment` takes, with observations in a floating-point Box.
            mean: Mean to subtract; broadcasts to the observation.
            variance: Variance to divide by the square root of, at least 0; broadcasts to the observation.
            epsilon: Added to the variance, positive.
            clip: Largest absolute value of a normalized number, positive; None for no limit.

        Raises:
            TypeError: If the observations are of another kind, or an argument holds no numbers.
            ValueError: If a number is out of range or a shape does not fit.
        """
        super().__init__(env)
        space = self.env.observation_space(self.env.default_params)
        if not isinstance(space, Box) or not np.issubdtype(space.dtype, np.floating):
            raise TypeError(f"`env` of NormalizeObservation must have floating-point observations, got {space!r}")
        self.mean, self.variance = check("mean", mean, numbers()), check("variance", variance, numbers(minimum=0))
        for name in ("mean", "variance"):
            check_broadcast(name, getattr(self, name), space.shape)
        epsilon = check("epsilon", epsilon, real(above=0))
        clip = check("clip", clip, optional(real(above=0, finite=False)))
        self._deviation = np.sqrt(self.variance + np.float32(epsilon))
        self.clip = np.inf if clip is None else float(clip)
        with np.errstate(over="ignore"):  # of bounds near the largest float
            bounds = [(bound - self.mean) / self._deviation for bound in (space.low, space.high)]
        low, high = (np.clip(bound, -self.clip, self.clip) for bound in bounds)
        self._space = Box(low, high, space.shape, space.dtype)

    @property
    def optimal_return(self) -> float | None:  # type: ignore[override]
        """Expected return of the optimal policy with memory."""
        return self.env.optimal_return

    @property
    def memoryless_return(self) -> float | None:  # type: ignore[override]
        """Expected return of the optimal policy that depends on the current observation only."""
        return self.env.memoryless_return

    def transform(self, key: Key, observation: PyTree) -> Array:
        """Normalize."""
        normalized = ((observation - self.mean) / self._deviation).astype(self._space.dtype)
        # Rounding must not exceed the bounds.
        return jnp.clip(normalized, self._space.low, self._space.high)

    def observation_space(self, params: PyTree | None = None) -> Box:
        """The space of the inner environment, normalized."""
        return self._space

    def memory_length(self, params: PyTree | None = None) -> int | None:
        """Number of steps over which information must be remembered."""
        return self.env.memory_length(params)
