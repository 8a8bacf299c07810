"""NoisyObservation: add Gaussian noise to observations."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from memorax.core.checks import boolean, check, check_broadcast, real
from memorax.core.spaces import Box, Space
from memorax.core.types import Array, Key, PyTree
from memorax.environments.wrappers.base import ObservationWrapper, map_boxes


class NoisyObservation(ObservationWrapper):
    """Add independent Gaussian noise to every number of every observation."""

    def __init__(self, env: Any, scale: float | np.ndarray, *, clip: bool = False) -> None:
        """Wrap an environment.

        Args:
            env: Any object that `as_environment` takes, with observations in floating-point boxes.
            scale: Standard deviation of the noise, at least 0; a number, or an array that broadcasts to every
                observation.
            clip: Whether noisy observations are clipped to the bounds of the observation space. Otherwise the space
                becomes unbounded.

        Raises:
            TypeError: If the observations are of another kind.
            ValueError: If `scale` is negative, not finite, or of another shape.
        """
        super().__init__(env)
        scale = scale if isinstance(scale, list | tuple) or np.ndim(scale) else check("scale", scale, real(0))
        self.scale = np.asarray(scale, np.float32)
        self.clip = check("clip", clip, boolean())
        if not (np.isfinite(self.scale).all() and (self.scale >= 0).all()):
            raise ValueError(f"`scale` must be at least 0 and finite, got {scale}; it is a standard deviation")
        self.observation_space(self.env.default_params)

    def transform(self, key: Key, observation: PyTree) -> PyTree:
        """Add noise, drawn independently for every array."""
        leaves, tree = jax.tree.flatten(observation)
        keys = jax.random.split(key, len(leaves))
        noisy = [x + self.scale * jax.random.normal(k, x.shape, x.dtype) for k, x in zip(keys, leaves, strict=True)]
        shown = jax.tree.unflatten(tree, [x.astype(leaf.dtype) for x, leaf in zip(noisy, leaves, strict=True)])
        if not self.clip:
            return shown
        bounds = self.env.observation_space(self.env.default_params)
        low, high = (jax.tree.unflatten(tree, _leaves(name, bounds)) for name in ("low", "high"))
        return jax.tree.map(jnp.clip, shown, low, high)

    def observation_space(self, params: PyTree | None = None) -> Space:
        """The space of the inner environment, unbounded unless noisy observations are clipped."""
        return map_boxes(self._noisy, self.env.observation_space(params), type(self).__name__)

    def _noisy(self, box: Box) -> Box:
        if not np.issubdtype(box.dtype, np.floating):
            raise TypeError(f"`env` of {type(self).__name__} must have floating-point observations, got {box!r}")
        check_broadcast("scale", self.scale, box.shape)
        return box if self.clip else Box(-np.inf, np.inf, box.shape, box.dtype)


def _leaves(name: str, space: Any) -> list[Array]:
    if isinstance(space, Box):
        return [getattr(space, name)]
    parts = space.spaces.values() if isinstance(space.spaces, dict) else space.spaces
    return [leaf for part in parts for leaf in _leaves(name, part)]
