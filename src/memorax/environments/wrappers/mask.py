"""MaskObservation and HideVelocity: remove parts of the observation."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from memorax.core.spaces import Box, Dict
from memorax.core.types import Key, PyTree
from memorax.environments.wrappers.base import ObservationWrapper

VELOCITIES: dict[str, tuple[int, ...]] = {
    "CartPole-v1": (1, 3),
    "Pendulum-v1": (2,),
    "Acrobot-v1": (4, 5),
    "MountainCar-v0": (1,),
    "MountainCarContinuous-v0": (1,),
}
"""Indices of the velocities in the observations of known environments, by name."""


class MaskObservation(ObservationWrapper):
    """Remove entries of a vector, or keys of a dictionary, from every observation; nothing else changes."""

    def __init__(self, env: Any, hide: Sequence[int] | Sequence[str]) -> None:
        """Wrap an environment.

        Args:
            env: Any object that `as_environment` takes, with observations in a Box `[n]` or in a Dict.
            hide: Indices or keys to remove; some, but not all.

        Raises:
            TypeError: If the observations are of another kind.
            ValueError: If `hide` names nothing, everything, or something that is not there.
        """
        super().__init__(env)
        space = self.env.observation_space(self.env.default_params)
        if isinstance(space, Dict):
            parts: list[Any] = list(space.spaces)
        elif isinstance(space, Box) and len(space.shape) == 1:
            parts = list(range(space.shape[0]))
        else:
            raise TypeError(
                f"`env` of {type(self).__name__} must have observations in a Box [n] or a Dict, got {space!r}"
            )
        if not isinstance(hide, Iterable):
            raise TypeError(f"`hide` must be a sequence of indices or keys, got {hide!r}")
        hidden: list[Any] = [hide] if isinstance(hide, str) else list(hide)
        unknown = [part for part in hidden if isinstance(part, bool) or part not in parts]
        if unknown:
            raise ValueError(f"`hide` must name parts of the observation, got {unknown[0]!r}; there are {parts}")
        self.keep = [part for part in parts if part not in hidden]
        if not hidden or not self.keep:
            raise ValueError(f"`hide` must name some parts, but not all, got {hidden} of {parts}")

    def transform(self, key: Key, observation: PyTree) -> PyTree:
        """The remaining parts."""
        if isinstance(observation, dict):
            return {name: observation[name] for name in self.keep}
        return observation[np.array(self.keep)]

    def observation_space(self, params: PyTree | None = None) -> Box | Dict:
        """The space of the remaining parts."""
        space = self.env.observation_space(params)
        if isinstance(space, Dict):
            return Dict({name: space[name] for name in self.keep})
        bounds: Any = space
        return Box(bounds.low[self.keep], bounds.high[self.keep], (len(self.keep),), space.dtype)


class HideVelocity(MaskObservation):
    """Remove the velocities from every observation; they follow from differences of remembered positions."""

    def __init__(self, env: Any, indices: Sequence[int] | None = None) -> None:
        """Wrap an environment.

        Args:
            env: Any object that `as_environment` takes, with observations in a Box `[n]`.
            indices: Indices of the velocities; None for those known of this environment (`VELOCITIES`).

        Raises:
            TypeError: If the observations are of another kind.
            ValueError: If nothing is known of this environment, or `indices` are not there.
        """
        name = getattr(env, "name", type(env).__name__)
        if indices is None and name not in VELOCITIES:
            raise ValueError(f"`indices` must be given for {name}; known without: {', '.join(VELOCITIES)}")
        super().__init__(env, VELOCITIES[name] if indices is None else indices)
