"""Batches of EnvPool, whose environments step in threads of their own."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from memorax.core.types import PyTree
from memorax.environments.host.batch import HostBatch, HostStep, VectorBatch, with_rows
from memorax.environments.host.source import Source
from memorax.environments.host.spaces import ChannelsLast, Translation


class EnvPoolBatch(VectorBatch):
    """The environments of a pool, which would reset in the step after the one that ended an episode."""

    def reset(self, seeds: Sequence[int]) -> tuple[PyTree, np.ndarray | None]:
        """Start an episode in every environment; the seeds are those that the pool was made with."""
        del seeds
        observation, _ = self.vector.reset()
        return self.observation.read(observation), None

    def reset_ended(self, ended: np.ndarray, final: PyTree) -> tuple[PyTree, dict[str, Any]]:
        """Reset environments whose episode ended."""
        observation, _ = self.vector.reset(ended.astype(np.int32))
        return with_rows(final, ended, self.observation.read(observation)), {}


class _SeededBatch(HostBatch):
    """A pool that is made when its seeds are known."""

    def __init__(self, make: Callable[[Sequence[int]], Any], observation: Translation, action: Translation) -> None:
        self._make, self._translations = make, (observation, action)
        self._batch: EnvPoolBatch | None = None

    def reset(self, seeds: Sequence[int]) -> tuple[PyTree, np.ndarray | None]:
        """Make the pool, and start an episode in every environment."""
        self.close()
        self._batch = EnvPoolBatch(self._make(seeds), *self._translations)
        return self._batch.reset(seeds)

    def step(self, action: PyTree) -> HostStep:
        """Take a step in every environment."""
        assert self._batch is not None, "reset comes first"  # noqa: S101
        return self._batch.step(action)

    def close(self) -> None:
        """Close the pool."""
        if self._batch is not None:
            self._batch.close()
        self._batch = None


class EnvPoolSource(Source):
    """Makes environments of EnvPool.

    Args:
        name: Name of the environments, for messages.
        make: `make(num_envs=..., env_seed=...)` makes a pool with Gymnasium's interface.

    Raises:
        TypeError: A space has no counterpart.
    """

    parallel = True

    def __init__(self, name: str, make: Callable[..., Any]) -> None:
        self.name, self._make = name, make
        pool = self._quietly(num_envs=1)
        space = pool.observation_space
        if hasattr(space, "spaces") and "mission" in space.spaces:  # a string, as bytes
            space = type(space)({key: part for key, part in space.spaces.items() if key != "mission"})
        self.observation, self.action = ChannelsLast(space), Translation(pool.action_space)
        self.horizon = pool.config.get("max_episode_steps")

    def _quietly(self, **options: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the dtype of bounds
            return self._make(**options)

    def batch(self, num_envs: int) -> HostBatch:
        """Make a batch of environments."""

        def make(seeds: Sequence[int]) -> Any:
            return self._quietly(num_envs=num_envs, env_seed=[int(seed) for seed in seeds])

        return _SeededBatch(make, self.observation, self.action)
