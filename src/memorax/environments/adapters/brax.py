"""The environments of Brax, as `brax::<id>`."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from memorax.core.spaces import Box
from memorax.core.types import Array, Key, PyTree
from memorax.environments.adapters.raw import Raw, RawEnvironment, box_like, check_name, import_library, pooled
from memorax.environments.environment import Environment

envs = import_library("brax.envs", "brax")


def names() -> tuple[str, ...]:
    """Ids of all environments of the library."""
    return tuple(sorted(envs._envs))


def make(name: str, *, max_steps: int = 1000, reset_pool: int | None = 16, **kwargs: Any) -> tuple[Environment, PyTree]:
    """Make an environment of Brax.

    Args:
        name: Id in Brax, for example `ant`.
        max_steps: Steps after which an episode is truncated.
        reset_pool: How many resets are computed at once for the environments whose episode ended; None computes one
            for every environment in every step.
        **kwargs: Arguments of its constructor: `backend` (`generalized`, `positional`, `spring` or `mjx`) and others.

    Returns:
        The environment and its parameters, of which it has none.

    Raises:
        ValueError: If Brax has no such environment.
    """
    check_name("brax", name, names())
    env = envs.get_environment(name, **kwargs)
    space = box_like(jax.eval_shape(env.reset, jax.random.key(0)).obs)
    actions = Box(-1.0, 1.0, (env.action_size,))
    return pooled(Brax(name, env, observation_space=space, action_space=actions, max_steps=max_steps), reset_pool)


class Brax(RawEnvironment):
    """An environment of Brax without its wrappers, which would start every episode from the same state."""

    def begin(self, key: Key, params: PyTree) -> tuple[Array, PyTree]:
        """Start an episode."""
        state = self.foreign.reset(key)
        return state.obs, state

    def advance(self, key: Key, inner: PyTree, action: Array, params: PyTree) -> Raw:
        """Take one step, which is deterministic."""
        state = self.foreign.step(inner, action)
        return state.obs, state, state.reward, state.done > 0, jnp.zeros((), bool)

    def render(self, state: PyTree, params: PyTree | None = None) -> np.ndarray:
        """Paint a state on the host by MuJoCo, which needs OpenGL: uint8 RGB `[height, width, 3]`."""
        return np.asarray(self.foreign.render([state.inner.pipeline_state])[0])

    def viewer(self, states: Sequence[PyTree]) -> str:
        """Write the page of Brax's own viewer for an episode, of its states; it loads its scripts from the network."""
        html = import_library("brax.io.html", "brax")
        system = self.foreign.sys.tree_replace({"opt.timestep": self.foreign.dt})
        return html.render(system, [state.inner.pipeline_state for state in states])
