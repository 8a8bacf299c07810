"""CriticState: show part of the environment's state beside the observation, for the critic."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from memorax.core.checks import check, function
from memorax.core.spaces import Box, Dict
from memorax.core.types import Array, Key, PyTree
from memorax.environments.environment import Environment, only_resets
from memorax.environments.wrappers.base import Wrapper


class CriticState(Wrapper):
    """Add what a function reads from the environment's state to each observation, as an entry of its own.

    The observation becomes a dictionary, `{"observation": ..., "state": ...}`, or gets the entry beside those that it
    has; so does `info["final_observation"]`. It is meant for the critic only (asymmetric actor-critic): give the
    actor's network no extractor for it, or use `critic_only=("state",)` in a run.

    `reset` of an environment in JAX has no `info`, so the entry is read from the state itself. Environments of
    Gymnasium give `info` in both, and `as_host(env, critic_state="state")` shows `info["state"]`.

    Source: Pinto et al. (2018), Asymmetric Actor Critic for Image-Based Robot Learning,
    https://arxiv.org/abs/1710.06542.
    """

    step = Environment.step

    def __init__(self, env: Any, read: Callable[[PyTree], Array], *, entry: str = "state") -> None:
        """Wrap an environment.

        Args:
            env: An environment that has `reset_env` and `step_env`.
            read: Maps a state of the environment to numbers, an array that keeps its shape.
            entry: Name of the entry.

        Raises:
            TypeError: If `read` is no function, or the environment only shows a `step` that resets.
            ValueError: If the observation has an entry of that name already.
        """
        super().__init__(env)
        self.read, self.entry = check("read", read, function()), entry
        if not only_resets(self.env):
            raise TypeError(
                "`env` of CriticState must have a `step` that does nothing but reset, got "
                f"{type(self.env).__name__}; put CriticState inside of other wrappers"
            )
        space = self.env.observation_space(self.env.default_params)
        if isinstance(space, Dict) and entry in space.spaces:
            raise ValueError(
                f"`entry` must be a name that the observation does not have, got {entry!r}; it has {space!r}"
            )

    def _shown(self, observation: PyTree, state: PyTree) -> dict[str, Any]:
        entries = dict(observation) if isinstance(observation, Mapping) else {"observation": observation}
        return entries | {self.entry: jnp.asarray(self.read(state)).astype(jnp.float32)}

    def reset(self, key: Key, params: PyTree | None = None) -> tuple[PyTree, PyTree]:
        """Start an episode."""
        observation, state = self.env.reset(key, params)
        return self._shown(observation, state), state

    def reset_env(self, key: Key, params: PyTree) -> tuple[PyTree, PyTree]:
        """Begin an episode."""
        observation, state = self.env.reset_env(key, params)
        return self._shown(observation, state), state

    def next_start(self, key: Key, last: PyTree, params: PyTree) -> tuple[PyTree, PyTree]:
        """Begin the episode that follows another."""
        observation, state = self.env.next_start(key, last, params)
        return self._shown(observation, state), state

    def step_env(
        self, key: Key, state: PyTree, action: Array, params: PyTree
    ) -> tuple[PyTree, PyTree, Array, Array, dict[str, Any]]:
        """Take one step without any reset."""
        observation, state, reward, terminated, info = self.env.step_env(key, state, action, params)
        return self._shown(observation, state), state, reward, terminated, info

    def observation_space(self, params: PyTree | None = None) -> Dict:
        """That of the environment, and a Box for the entry."""
        space: Any = self.env.observation_space(params)
        given = self.default_params if params is None else params
        state = jax.eval_shape(self.env.reset, jax.random.key(0), given)[1]
        shape = jax.eval_shape(lambda state: jnp.asarray(self.read(state)), state).shape
        entries = space.spaces if isinstance(space, Dict) else {"observation": space}
        return Dict({**entries, self.entry: Box(-np.inf, np.inf, shape)})
