"""The environments of NAVIX, as `navix::<id>`."""

from typing import Any

import jax
import jax.numpy as jnp

from memorax.core.spaces import Box, Discrete
from memorax.core.types import Array, Key, PyTree
from memorax.environments.adapters.raw import Raw, RawEnvironment, check_name, import_library, pooled
from memorax.environments.environment import Environment

navix = import_library("navix", "navix")


def names() -> tuple[str, ...]:
    """Ids of all environments of the library."""
    return tuple(sorted(navix.registry()))


def make(
    name: str, *, observation: str = "symbolic_first_person", reset_pool: int | None = 16, **kwargs: Any
) -> tuple[Environment, PyTree]:
    """Make an environment of NAVIX.

    Args:
        name: Id in NAVIX, for example `Navix-DoorKey-5x5-v0`.
        observation: Name of a function of `navix.observations`. By default ids of what the agent sees in front of
            it, float32 `[7, 7, 3]`; `symbolic` shows the whole grid, `rgb_first_person` and `rgb` give uint8 images.
        reset_pool: How many resets are computed at once for the environments whose episode ended; None computes one
            for every environment in every step.
        **kwargs: Arguments of its constructor, `max_steps` (100) among them.

    Returns:
        The environment and its parameters, of which it has none.

    Raises:
        ValueError: If NAVIX has no such environment or observation.
    """
    check_name("navix", name, names())
    observe = getattr(navix.observations, observation, None)
    if observation.startswith("_") or not hasattr(observe, "__code__"):
        raise ValueError(f"`observation` must name a function of `navix.observations`, got `{observation}`")
    env = navix.make(name, observation_fn=observe, **kwargs)
    seen = jax.eval_shape(lambda key: env.reset(key).observation, jax.random.key(0))
    # As float32 ids are not taken for the colors of an image.
    space = Box(0, 255, seen.shape, jnp.uint8 if "rgb" in observation else jnp.float32)
    actions = Discrete(int(env.action_space.n))
    return pooled(Navix(name, env, observation_space=space, action_space=actions), reset_pool)


class Navix(RawEnvironment):
    """An environment of NAVIX; the library itself would reset one step late, with an action that is ignored."""

    def begin(self, key: Key, params: PyTree) -> tuple[Array, PyTree]:
        """Start an episode."""
        timestep = self.foreign.reset(key)
        return timestep.observation.astype(self._observation_space.dtype), timestep

    def advance(self, key: Key, inner: PyTree, action: Array, params: PyTree) -> Raw:
        """Take one step; the state itself holds the key."""
        timestep = self.foreign._step(inner, action)
        observation = timestep.observation.astype(self._observation_space.dtype)
        return observation, timestep, timestep.reward, timestep.is_termination(), timestep.is_truncation()

    def render(self, state: PyTree, params: PyTree | None = None) -> Array:
        """Paint the whole grid, uint8 RGB `[height, width, 3]`."""
        return navix.observations.rgb(state.inner.state)
