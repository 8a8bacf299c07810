"""Craftax and Craftax-Classic, as `craftax::<id>`."""

from typing import Any

import jax.numpy as jnp

from memorax.core.spaces import from_foreign
from memorax.core.types import Array, Key, PyTree
from memorax.environments.adapters.raw import Raw, RawEnvironment, check_name, import_library, pooled
from memorax.environments.environment import Environment

craftax_env = import_library("craftax.craftax_env", "craftax")

_FOREVER = 2**31 - 1


def names() -> tuple[str, ...]:
    """Ids of all environments of the library."""
    return tuple(f"Craftax-{kind}-v1" for kind in ("Classic-Pixels", "Classic-Symbolic", "Pixels", "Symbolic"))


def make(name: str, *, reset_pool: int | None = 16, **kwargs: Any) -> tuple[Environment, PyTree]:
    """Make Craftax or Craftax-Classic.

    Args:
        name: Id in Craftax, for example `Craftax-Classic-Symbolic-v1`.
        reset_pool: How many worlds are made at once for the environments whose episode ended; None makes one for
            every environment in every step.
        **kwargs: Fields of its parameters, for example `max_timesteps` (100000, or 10000 in Craftax-Classic), after
            which an episode is truncated.

    Returns:
        The environment and its parameters, those of Craftax.

    Raises:
        ValueError: If Craftax has no such environment.
    """
    check_name("craftax", name, names())
    env = craftax_env.make_craftax_env_from_name(name, auto_reset=False)
    params = env.default_params.replace(**kwargs)
    spaces = (from_foreign(space(params)) for space in (env.observation_space, env.action_space))
    observations, actions = spaces
    return pooled(Craftax(name, env, observation_space=observations, action_space=actions, params=params), reset_pool)


class Craftax(RawEnvironment):
    """Craftax or Craftax-Classic without its automatic reset, which would lose the last observation."""

    def begin(self, key: Key, params: PyTree) -> tuple[Array, PyTree]:
        """Start an episode in a new world."""
        return self.foreign.reset_env(key, params)

    def advance(self, key: Key, inner: PyTree, action: Array, params: PyTree) -> Raw:
        """Take one step."""
        observation, inner, reward, _, _ = self.foreign.step_env(key, inner, action, params)
        terminated = self.foreign.is_terminal(inner, params.replace(max_timesteps=_FOREVER))
        return observation, inner, reward, terminated, inner.timestep >= params.max_timesteps

    def render(self, state: PyTree, params: PyTree | None = None, block_size: int = 16) -> Array:
        """Paint what the player sees, uint8 RGB `[height, width, 3]`, blocks of 7, 10, 16 or 64 pixels."""
        world = "craftax_classic" if "Classic" in self.name else "craftax"
        renderer = import_library(f"craftax.{world}.renderer", "craftax")
        return renderer.make_craftax_pixel_renderer(block_size)(state.inner).astype(jnp.uint8)
