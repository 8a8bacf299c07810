"""ScaleReward and NormalizeReward: change the scale of rewards."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from memorax.core.checks import check, optional, real
from memorax.core.types import Array, Key, PyTree
from memorax.environments.environment import Step
from memorax.environments.wrappers.base import Wrapper


def _known(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


class ScaleReward(Wrapper):
    """Multiply every reward by a constant, and with it the known returns of the task."""

    def __init__(self, env: Any, scale: float) -> None:
        """Wrap an environment.

        Args:
            env: Any object that `as_environment` takes.
            scale: The factor, positive.

        Raises:
            TypeError: If `env` does not speak the protocol.
            ValueError: If `scale` is not positive and finite.
        """
        super().__init__(env)
        self.scale = float(check("scale", scale, real(above=0)))

    @property
    def optimal_return(self) -> float | None:  # type: ignore[override]
        """Expected return of the optimal policy with memory, scaled."""
        return _known(self.env.optimal_return, self.scale)

    @property
    def memoryless_return(self) -> float | None:  # type: ignore[override]
        """Expected return of the optimal policy that depends on the current observation only, scaled."""
        return _known(self.env.memoryless_return, self.scale)

    def step(self, key: Key, state: PyTree, action: Array, params: PyTree | None = None) -> Step:
        """Take one step and scale its reward."""
        observation, state, reward, terminated, truncated, info = self.env.step(key, state, action, params)
        return observation, state, reward * jnp.float32(self.scale), terminated, truncated, info


class NormalizeReward(Wrapper):
    """Divide every reward by a given standard deviation, usually that of the discounted return.

    The variance is given and never changes. Running statistics belong to the agent (`normalize_rewards` of its config),
    which shares them among environments and freezes them in evaluation.
    """

    def __init__(self, env: Any, variance: float, *, epsilon: float = 1e-8, clip: float | None = 10.0) -> None:
        """Wrap an environment.

        Args:
            env: Any object that `as_environment` takes.
            variance: Variance to divide by the square root of, at least 0.
            epsilon: Added to the variance, positive.
            clip: Largest absolute value of a normalized reward, positive; None for no limit. With a limit, the returns
                of the task are not known.

        Raises:
            TypeError: If `env` does not speak the protocol.
            ValueError: If a number is out of range.
        """
        super().__init__(env)
        variance, epsilon = check("variance", variance, real(0)), check("epsilon", epsilon, real(above=0))
        self.clip = check("clip", clip, optional(real(above=0, finite=False)))
        self._factor = 1 / float(np.sqrt(variance + epsilon))

    @property
    def optimal_return(self) -> float | None:  # type: ignore[override]
        """Expected return of the optimal policy with memory, normalized."""
        return _known(self.env.optimal_return, self._factor) if self.clip is None else None

    @property
    def memoryless_return(self) -> float | None:  # type: ignore[override]
        """Expected return of the optimal policy that depends on the current observation only, normalized."""
        return _known(self.env.memoryless_return, self._factor) if self.clip is None else None

    def step(self, key: Key, state: PyTree, action: Array, params: PyTree | None = None) -> Step:
        """Take one step and normalize its reward."""
        observation, state, reward, terminated, truncated, info = self.env.step(key, state, action, params)
        reward = reward * jnp.float32(self._factor)
        if self.clip is not None:
            reward = jnp.clip(reward, -self.clip, self.clip)
        return observation, state, reward, terminated, truncated, info
