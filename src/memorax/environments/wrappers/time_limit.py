"""TimeLimit: truncate long episodes."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from memorax.core.checks import check, steps
from memorax.core.types import Array, Key, PyTree
from memorax.environments.environment import Step
from memorax.environments.wrappers.base import Wrapper


@struct.dataclass
class TimeLimitState:
    """State of TimeLimit.

    Attributes:
        env_state: State of the inner environment.
        time: Completed steps of the episode, int32.
    """

    env_state: PyTree
    time: Array


class TimeLimit(Wrapper):
    """Truncate every episode after a number of steps; earlier ends of the inner environment are unchanged.

    Its reset is computed in every step, in addition to that of the inner environment.
    """

    def __init__(self, env: Any, max_steps: int) -> None:
        """Wrap an environment.

        Args:
            env: Any object that `as_environment` takes.
            max_steps: Number of steps after which an episode is truncated, at least 1.

        Raises:
            TypeError: If `max_steps` is not an integer or `env` does not speak the protocol.
            ValueError: If `max_steps` is below 1.
        """
        super().__init__(env)
        self.max_steps = check("max_steps", max_steps, steps())

    def reset(self, key: Key, params: PyTree | None = None) -> tuple[PyTree, TimeLimitState]:
        """Start an episode."""
        observation, env_state = self.env.reset(key, params)
        return observation, TimeLimitState(env_state=env_state, time=jnp.zeros((), jnp.int32))

    def step(self, key: Key, state: TimeLimitState, action: Array, params: PyTree | None = None) -> Step:
        """Take one step and reset where it ends the episode."""
        # The inner environment gets the key itself, so that nothing differs before the truncation.
        reset_key = jax.random.fold_in(key, 1)
        observation, env_state, reward, terminated, truncated, info = self.env.step(
            key, state.env_state, action, params
        )
        time = state.time + 1
        late = time >= self.max_steps
        cut = late & ~(terminated | truncated)
        fresh = self.env.reset(reset_key, params)
        observation, env_state = jax.tree.map(
            lambda new, old: jnp.where(cut, new, old), fresh, (observation, env_state)
        )
        truncated = truncated | late
        time = jnp.where(terminated | truncated, 0, time)
        return observation, TimeLimitState(env_state, time), reward, terminated, truncated, info

    def horizon(self, params: PyTree | None = None) -> int:
        """The limit, or the horizon of the inner environment if that is shorter."""
        inner = self.env.horizon(params)
        return self.max_steps if inner is None else min(inner, self.max_steps)
