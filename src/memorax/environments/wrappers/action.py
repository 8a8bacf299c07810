"""ClipAction: clip actions to the bounds of the action space."""

from typing import Any

import jax.numpy as jnp

from memorax.core.spaces import Box
from memorax.core.types import Array, Key, PyTree
from memorax.environments.environment import Step
from memorax.environments.wrappers.base import Wrapper


class ClipAction(Wrapper):
    """Clip actions to the bounds of the action space before the environment sees them.

    The action space stays the same: it says which actions differ in effect, not which are accepted.
    """

    def __init__(self, env: Any) -> None:
        """Wrap an environment.

        Args:
            env: Any object that `as_environment` takes, with actions in a Box.

        Raises:
            TypeError: If the actions are of another kind.
        """
        super().__init__(env)
        space = self.env.action_space(self.env.default_params)
        if not isinstance(space, Box):
            raise TypeError(f"`env` of ClipAction must have actions in a Box, got {space!r}; only those have bounds")
        self._low, self._high = space.low, space.high

    def step(self, key: Key, state: PyTree, action: Array, params: PyTree | None = None) -> Step:
        """Take one step with the clipped action."""
        return self.env.step(key, state, jnp.clip(action, self._low, self._high), params)
