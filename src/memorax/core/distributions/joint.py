"""Distributions over actions of several parts, of different kinds."""

from typing import Any

import jax
from flax import struct

from memorax.core.distributions.discrete import total
from memorax.core.types import Array, Key, PyTree


@struct.dataclass
class Joint:
    """Independent distributions of the parts of an action.

    Attributes:
        parts: A dictionary or a tuple of distributions, which may be of different kinds; actions are nested alike.
    """

    parts: Any

    @property
    def bounded(self) -> Any:
        """For each part, whether its actions are in `[-1, 1]`; nested as the parts are."""
        return self._map(lambda part: part.bounded)

    def sample(self, key: Key) -> PyTree:
        """Draw an action of every part."""
        keys = iter(jax.random.split(key, len(self.parts)))
        return self._map(lambda part: part.sample(next(keys)))

    def log_prob(self, action: PyTree) -> Array:
        """Log-probability or log-density of actions, summed over the parts, `[...]`."""
        parts = self._map(lambda part, own: part.log_prob(own), action)
        return total(self._list(parts))

    def sample_and_log_prob(self, key: Key) -> tuple[PyTree, Array]:
        """Draw actions and give their log-probabilities `[...]`."""
        keys = iter(jax.random.split(key, len(self.parts)))
        both = self._map(lambda part: part.sample_and_log_prob(next(keys)))
        log_prob = total([x for _, x in self._list(both)])
        if isinstance(both, dict):
            return {name: action for name, (action, _) in both.items()}, log_prob
        return tuple(action for action, _ in both), log_prob

    def entropy(self) -> Array:
        """The sum of the entropies of the parts, `[...]`, in nats."""
        return total(self._list(self._map(lambda part: part.entropy())))

    def mode(self) -> PyTree:
        """The mode of every part."""
        return self._map(lambda part: part.mode())

    def _map(self, function: Any, *values: Any) -> Any:
        if isinstance(self.parts, tuple | list):
            return tuple(function(part, *(x[i] for x in values)) for i, part in enumerate(self.parts))
        return {name: function(part, *(x[name] for x in values)) for name, part in self.parts.items()}

    @staticmethod
    def _list(parts: Any) -> list[Any]:
        return list(parts.values() if isinstance(parts, dict) else parts)
