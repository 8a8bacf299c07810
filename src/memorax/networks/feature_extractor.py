"""Features of observations, previous actions, previous rewards and episode starts."""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from memorax.core.checks import boolean, check_fields
from memorax.core.types import Array, PyTree, Timestep


class FeatureExtractor(nn.Module):
    """Encode observation, previous action, previous reward and episode start, and concatenate the features.

    Each extractor is a Flax module or any function of an array with batch and time in front; None leaves its input
    out. Reward and `done` are given with a feature axis of size 1, the action encoded (one-hot where discrete).

    Attributes:
        observation_extractor: Maps the observation, `[batch, time, ...]`; `Entries` for a dictionary or tuple.
        action_extractor: Maps the previous action, `[batch, time, actions]`.
        reward_extractor: Maps the previous reward, `[batch, time, 1]`.
        done_extractor: Maps `done`, 1 at the first step of an episode and else 0, `[batch, time, 1]`.
        mask_at_start: Whether previous action and reward are zero at an episode's first step, as they belong to the
            episode before. False only for memory across episodes, as in RL².
    """

    observation_extractor: Callable[..., Any]
    action_extractor: Callable[..., Any] | None = None
    reward_extractor: Callable[..., Any] | None = None
    done_extractor: Callable[..., Any] | None = None
    mask_at_start: bool = True

    def __post_init__(self) -> None:
        """Check the extractors.

        Raises:
            TypeError: If an extractor cannot be called, or there is none for the observation.
        """
        if not callable(self.observation_extractor):
            raise TypeError(f"`observation_extractor` must be callable, got {self.observation_extractor!r}")
        for name in ("action_extractor", "reward_extractor", "done_extractor"):
            extractor = getattr(self, name)
            if extractor is not None and not callable(extractor):
                raise TypeError(f"`{name}` must be callable or None, got {extractor!r}")
        check_fields(self, mask_at_start=boolean())
        super().__post_init__()

    def __call__(self, timestep: Timestep) -> Array:
        """Extract.

        Args:
            timestep: The agent's inputs, `[batch, time, ...]`, its action encoded (one-hot where discrete).

        Returns:
            Features, `[batch, time, features]`, floating point.

        Raises:
            ValueError: If an extractor does not keep batch and time or gives no single feature axis.
        """
        done = timestep.done
        features = [self._extract("observation", _with_feature_axis(timestep.observation), done)]
        if self.action_extractor is not None:
            features.append(self._extract("action", self._mask(timestep.action, done), done))
        if self.reward_extractor is not None:
            features.append(self._extract("reward", self._mask(timestep.reward[..., None], done), done))
        if self.done_extractor is not None:
            features.append(self._extract("done", done[..., None].astype(jnp.float32), done))
        return jnp.concatenate(features, axis=-1)

    def _mask(self, value: Array, done: Array) -> Array:
        """Select zeros at episode starts; a product would let NaN through."""
        if not self.mask_at_start:
            return value
        return jnp.where(done.reshape(done.shape + (1,) * (value.ndim - done.ndim)), jnp.zeros_like(value), value)

    def _extract(self, name: str, value: PyTree, done: Array) -> Array:
        features = getattr(self, f"{name}_extractor")(value)
        if features.ndim != done.ndim + 1 or features.shape[: done.ndim] != done.shape:
            raise ValueError(
                f"`{name}_extractor` must give [batch, time, features] with batch and time {done.shape}, "
                f"got {features.shape}; put `layers.Flatten()` in front"
            )
        return features if jnp.issubdtype(features.dtype, jnp.floating) else features.astype(jnp.float32)


class Entries(nn.Module):
    """Extract the features of every entry of a dictionary or tuple by an extractor of its own, and concatenate them.

    Attributes:
        extractors: Extractors by key, or one for each place of a tuple; Flax modules or functions of an array with
            batch and time in front. An entry without extractor, or with None, is not seen.

    Example:
        >>> import jax
        >>> from memorax.networks import CNN, MLP
        >>> seen = {"picture": jnp.zeros((2, 5, 40, 40, 3), jnp.uint8), "speed": jnp.zeros((2, 5)), "secret": 0}
        >>> entries = Entries({"picture": CNN(), "speed": MLP((4,))})
        >>> entries.init_with_output(jax.random.key(0), seen)[0].shape
        (2, 5, 68)
    """

    extractors: Any

    def __post_init__(self) -> None:
        """Check the extractors.

        Raises:
            TypeError: If `extractors` is no dictionary or sequence, or holds something that cannot be called.
            ValueError: If there is none.
        """
        if not isinstance(self.extractors, Mapping | tuple | list):
            raise TypeError(f"`extractors` must be a dictionary or a sequence of extractors, got {self.extractors!r}")
        for name, extractor in self._named():
            if extractor is not None and not callable(extractor):
                raise TypeError(f"`extractors[{name!r}]` must be callable or None, got {extractor!r}")
        if all(extractor is None for _, extractor in self._named()):
            raise ValueError("`extractors` must hold at least one extractor, got none")
        super().__post_init__()

    def __call__(self, observation: PyTree) -> Array:
        """Extract.

        Args:
            observation: Entries by key or by place, each `[batch, time, ...]`.

        Returns:
            The features of the entries side by side, `[batch, time, features]`; those of a dictionary in the order of
            `extractors`.

        Raises:
            TypeError: If the observation is nested in another way.
            ValueError: If an entry is not there, or an extractor gives no single feature axis.
        """
        keyed = isinstance(self.extractors, Mapping)
        if not isinstance(observation, Mapping if keyed else tuple | list):
            kind = "dictionary" if keyed else "tuple"
            raise TypeError(f"`observation` must be a {kind} for these `extractors`, got {type(observation).__name__}")
        there = dict(observation if isinstance(observation, Mapping) else enumerate(observation))
        features = []
        for name, extractor in self._named():
            if name not in there:
                raise ValueError(f"`extractors` must be of entries of the observation, {list(there)}, got {name!r}")
            if extractor is not None:
                features.append(_features(f"extractors[{name!r}]", extractor, _with_feature_axis(there[name])))
        return jnp.concatenate(features, axis=-1)

    @nn.nowrap
    def _named(self) -> list[tuple[Any, Any]]:
        return list(self.extractors.items() if isinstance(self.extractors, Mapping) else enumerate(self.extractors))


def _features(name: str, extractor: Any, value: PyTree) -> Array:
    """Extract features with one axis behind batch and time."""
    features = extractor(value)
    if features.ndim != 3:
        raise ValueError(
            f"`{name}` must give [batch, time, features], got {features.shape}; put `layers.Flatten()` in front"
        )
    return features if jnp.issubdtype(features.dtype, jnp.floating) else features.astype(jnp.float32)


def _with_feature_axis(observation: PyTree) -> PyTree:
    """Give a scalar observation a feature axis; integers stay as they are, for an embedding."""
    if not hasattr(observation, "ndim") or observation.ndim != 2:
        return observation
    return observation if jnp.issubdtype(observation.dtype, jnp.integer) else observation[..., None]
