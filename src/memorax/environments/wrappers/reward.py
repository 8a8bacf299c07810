"""ScaleReward and NormalizeReward: rewards of another size."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from memorax.core.types import Array, Key, PyTree
from memorax.environments.environment import Step
from memorax.environments.wrappers.base import Wrapper


def _known(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


class ScaleReward(Wrapper):
    """Multiply every reward by a number, and with it the returns that are known of the task."""

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
        if not 0 < scale < np.inf:
            raise ValueError(f"`scale` must be positive and finite, got {scale}")
        self.scale = float(scale)

    @property
    def optimal_return(self) -> float | None:  # type: ignore[override]
        """Expected return of the best policy with memory, scaled."""
        return _known(self.env.optimal_return, self.scale)

    @property
    def memoryless_return(self) -> float | None:  # type: ignore[override]
        """Expected return of the best policy that sees only the current observation, scaled."""
        return _known(self.env.memoryless_return, self.scale)

    def step(self, key: Key, state: PyTree, action: Array, params: PyTree | None = None) -> Step:
        """Take one step and scale its reward."""
        observation, state, reward, terminated, truncated, info = self.env.step(key, state, action, params)
        return observation, state, reward * jnp.float32(self.scale), terminated, truncated, info


class NormalizeReward(Wrapper):
    """Divide every reward by a given standard deviation, usually that of the discounted return.

    The variance is frozen: it is given, and never changes. Statistics that run along with learning belong to the
    learner, which shares them among environments and keeps them in evaluation; they are not kept here.
    """

    def __init__(self, env: Any, variance: float, *, epsilon: float = 1e-8, clip: float | None = 10.0) -> None:
        """Wrap an environment.

        Args:
            env: Any object that `as_environment` takes.
            variance: Variance to divide by the root of, at least 0.
            epsilon: What is added to the variance, positive.
            clip: Largest size of a normalized reward, positive; None for any. With it, the returns of the task are
                not known.

        Raises:
            TypeError: If `env` does not speak the protocol.
            ValueError: If a number is out of range.
        """
        super().__init__(env)
        if not 0 <= variance < np.inf:
            raise ValueError(f"`variance` must be at least 0 and finite, got {variance}")
        if not 0 < epsilon < np.inf:
            raise ValueError(f"`epsilon` must be positive and finite, got {epsilon}")
        if clip is not None and not clip > 0:
            raise ValueError(f"`clip` must be positive or None, got {clip}")
        self.clip = clip
        self._factor = 1 / float(np.sqrt(variance + epsilon))

    @property
    def optimal_return(self) -> float | None:  # type: ignore[override]
        """Expected return of the best policy with memory, normalized."""
        return _known(self.env.optimal_return, self._factor) if self.clip is None else None

    @property
    def memoryless_return(self) -> float | None:  # type: ignore[override]
        """Expected return of the best policy that sees only the current observation, normalized."""
        return _known(self.env.memoryless_return, self._factor) if self.clip is None else None

    def step(self, key: Key, state: PyTree, action: Array, params: PyTree | None = None) -> Step:
        """Take one step and normalize its reward."""
        observation, state, reward, terminated, truncated, info = self.env.step(key, state, action, params)
        reward = reward * jnp.float32(self._factor)
        if self.clip is not None:
            reward = jnp.clip(reward, -self.clip, self.clip)
        return observation, state, reward, terminated, truncated, info
