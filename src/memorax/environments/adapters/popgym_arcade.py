"""The environments of POPGym Arcade, as `popgym_arcade::<id>`."""

from typing import Any

import jax.numpy as jnp

from memorax.core.spaces import from_foreign
from memorax.core.types import Array, Key, PyTree
from memorax.environments.adapters.raw import Raw, RawEnvironment, check_name, import_library, pooled
from memorax.environments.environment import Environment

registration = import_library("popgym_arcade.registration", "popgym_arcade")


def names() -> tuple[str, ...]:
    """Ids of all environments of the library."""
    return tuple(sorted(registration.REGISTERED_ENVIRONMENTS))


def make(
    name: str, *, partial_obs: bool = True, reset_pool: int | None = 16, **kwargs: Any
) -> tuple[Environment, PyTree]:
    """Make an environment of POPGym Arcade.

    Args:
        name: Id in POPGym Arcade, for example `CountRecallEasy`.
        partial_obs: Whether the agent must remember; False gives the fully observable twin, which looks the same
            and shows what would have to be remembered.
        reset_pool: How many resets are computed at once for the environments whose episode ended; None computes one
            for every environment in every step.
        **kwargs: Other arguments of its constructor, for example `obs_size` (128 or 256).

    Returns:
        The environment and its parameters.

    Raises:
        ValueError: If POPGym Arcade has no such environment.
    """
    check_name("popgym_arcade", name, names())
    env, params = registration.make(name, partial_obs=partial_obs, **kwargs)
    observations, actions = (from_foreign(space(params)) for space in (env.observation_space, env.action_space))
    made = POPGymArcade(name, env, observation_space=observations, action_space=actions, params=params)
    return pooled(made, reset_pool)


class POPGymArcade(RawEnvironment):
    """An environment of POPGym Arcade without its automatic reset, which would lose the last observation."""

    def begin(self, key: Key, params: PyTree) -> tuple[Array, PyTree]:
        """Start an episode."""
        return self.foreign.reset_env(key, params)

    def advance(self, key: Key, inner: PyTree, action: Array, params: PyTree) -> Raw:
        """Take one step."""
        observation, inner, reward, done, info = self.foreign.step_env(key, inner, action, params)
        # Some say `terminated` of an end by the time limit too, or of no end at all.
        done, late = (jnp.asarray(flag).astype(bool) for flag in (done, info.get("truncated", False)))
        return observation, inner, reward, done & ~late, done & late

    def render(self, state: PyTree, params: PyTree | None = None) -> Array:
        """Paint a state as the agent sees it, uint8 RGB `[height, width, 3]`."""
        return self.foreign.get_obs(state.inner)
