"""The environments of MuJoCo Playground, as `playground::<id>`."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from memorax.core.spaces import Box, Dict
from memorax.core.types import Array, Key, PyTree
from memorax.environments.adapters.raw import Raw, RawEnvironment, box_like, check_name, import_library, pooled
from memorax.environments.environment import Environment

registry = import_library("mujoco_playground", "playground").registry


def names() -> tuple[str, ...]:
    """Ids of all environments of the library."""
    return tuple(sorted(registry.ALL_ENVS))


def make(
    name: str, *, max_steps: int | None = None, reset_pool: int | None = 16, **kwargs: Any
) -> tuple[Environment, PyTree]:
    """Make an environment of MuJoCo Playground.

    Args:
        name: Id in MuJoCo Playground, for example `CartpoleBalance`.
        max_steps: Steps after which an episode is truncated; by default `episode_length` of its configuration.
        reset_pool: How many resets are computed at once for the environments whose episode ended; None computes one
            for every environment in every step.
        **kwargs: Entries of its configuration that are changed, `impl="jax"` for example.

    Returns:
        The environment and its parameters, of which it has none. Where it has several observations (`state` and
        `privileged_state`, say), they are a Dict.

    Raises:
        ValueError: If MuJoCo Playground has no such environment.
    """
    check_name("playground", name, names())
    config = registry.get_default_config(name)
    env = registry.load(name, config, kwargs or None)
    seen = jax.eval_shape(env.reset, jax.random.key(0)).obs
    space = Dict({part: box_like(x) for part, x in seen.items()}) if hasattr(seen, "items") else box_like(seen)
    max_steps = int(config.episode_length) if max_steps is None else max_steps
    actions = Box(-1.0, 1.0, (env.action_size,))
    made = Playground(name, env, observation_space=space, action_space=actions, max_steps=max_steps)
    return pooled(made, reset_pool)


class Playground(RawEnvironment):
    """An environment of MuJoCo Playground without its wrappers."""

    def begin(self, key: Key, params: PyTree) -> tuple[PyTree, PyTree]:
        """Start an episode."""
        state = self.foreign.reset(key)
        return state.obs, state

    def advance(self, key: Key, inner: PyTree, action: Array, params: PyTree) -> Raw:
        """Take one step; the state itself holds the key."""
        state = self.foreign.step(inner, action)
        return state.obs, state, state.reward, state.done > 0, jnp.zeros((), bool)

    def render(self, state: PyTree, params: PyTree | None = None) -> np.ndarray:
        """Paint a state on the host by MuJoCo, which needs OpenGL: uint8 RGB `[height, width, 3]`."""
        return np.asarray(self.foreign.render([state.inner])[0])
