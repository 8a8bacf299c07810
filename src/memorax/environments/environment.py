"""The environment protocol: the base class of the built-in tasks, the adapters and the wrappers."""

from typing import Any, Generic, TypeVar

import jax
import jax.numpy as jnp
from flax import struct

from memorax.core.spaces import Space
from memorax.core.types import Array, Key, PyTree, strong

Step = tuple[PyTree, PyTree, Array, Array, Array, dict[str, Any]]
"""`(observation, state, reward, terminated, truncated, info)`."""


@struct.dataclass
class EnvParams:
    """Parameters that can be changed without recompiling; subclasses add NumPy or JAX scalars."""


@struct.dataclass
class EnvState:
    """State of an environment between two steps; subclasses add arrays.

    Attributes:
        time: Completed steps of the episode, int32.
    """

    time: Array


StateT = TypeVar("StateT")
ParamsT = TypeVar("ParamsT")


def auto_reset(
    fresh: tuple[PyTree, PyTree],
    stepped: tuple[PyTree, PyTree],
    outcome: tuple[Array, Array, Array],
    info: dict[str, Any],
) -> Step:
    """Finish a step: reset where the episode ended, in the same step.

    Args:
        fresh: First observation and state of a new episode.
        stepped: Observation and state after the step, of the same shapes and dtypes.
        outcome: `(reward, terminated, truncated)` of the step.
        info: Further outputs of the environment.

    Returns:
        The six values of a step, with `info["final_observation"]`.

    Raises:
        ValueError: If the shapes after a reset and after a step differ.
    """
    reward, terminated, truncated = (jnp.asarray(x) for x in outcome)
    terminated, truncated = terminated.astype(bool), truncated.astype(bool)
    fresh, stepped = strong(fresh), strong(stepped)
    done = terminated | truncated

    def choose(new: Array, old: Array) -> Array:
        if new.shape != old.shape:  # `where` would broadcast
            raise ValueError(
                f"observation and state must keep their shapes, got {new.shape} after reset and {old.shape} after step"
            )
        return jnp.where(done, new, old)

    observation, state = jax.tree.map(choose, fresh, stepped)
    info = {**info, "final_observation": stepped[0]}
    return observation, state, reward.astype(jnp.float32), terminated, truncated, info


class Environment(Generic[StateT, ParamsT]):
    """A single-agent environment with the protocol of gymnax 1.x.

    A subclass implements `reset_env` and `step_env` (one episode, without resets), the two spaces, and `is_truncated`
    if it has a time limit. `step` adds auto-reset: the step that ends an episode returns the first observation of the
    next one, and `info["final_observation"]` holds the last observation of the episode that ended; termination and
    truncation are reported separately. Under `jax.jit` the reset is computed in every step, so `reset_env` must be
    cheap.

    Attributes:
        optimal_return: Expected return of the optimal policy with memory; None if not known in closed form.
        memoryless_return: Expected return of the optimal policy that depends on the current observation only; None
            if not known in closed form.
    """

    optimal_return: float | None = None
    memoryless_return: float | None = None

    @property
    def name(self) -> str:
        """Name of the environment."""
        return type(self).__name__

    @property
    def default_params(self) -> Any:
        """Parameters that `reset` and `step` use by default."""
        return EnvParams()

    def reset(self, key: Key, params: ParamsT | None = None) -> tuple[PyTree, StateT]:
        """Start an episode.

        Args:
            key: Random key.
            params: Environment parameters; by default `default_params`.

        Returns:
            First observation and state.
        """
        return strong(self.reset_env(key, self.default_params if params is None else params))

    def step(self, key: Key, state: StateT, action: Array, params: ParamsT | None = None) -> Step:
        """Take one step and, where it ends the episode, reset.

        Args:
            key: Random key.
            state: State before the step.
            action: A value of the action space.
            params: Environment parameters; by default `default_params`.

        Returns:
            `(observation, state, reward, terminated, truncated, info)`: reward float32 scalar, both flags boolean
            scalars; `info["final_observation"]` is the observation before a reset.
        """
        given: ParamsT = self.default_params if params is None else params
        step_key, reset_key = jax.random.split(key)
        observation, next_state, reward, terminated, info = self.step_env(step_key, state, action, given)
        truncated = self.is_truncated(next_state, given)
        fresh = self.reset_env(reset_key, given)
        return auto_reset(fresh, (observation, next_state), (reward, terminated, truncated), info)

    def reset_env(self, key: Key, params: ParamsT) -> tuple[PyTree, StateT]:
        """Start an episode; implemented by every environment.

        Args:
            key: Random key.
            params: Environment parameters.

        Returns:
            First observation and state.
        """
        raise NotImplementedError(f"`reset_env` must be implemented by {type(self).__name__}")

    def step_env(
        self, key: Key, state: StateT, action: Array, params: ParamsT
    ) -> tuple[PyTree, StateT, Array, Array, dict[str, Any]]:
        """Take one step without auto-reset; implemented by every environment.

        Args:
            key: Random key.
            state: State before the step.
            action: A value of the action space.
            params: Environment parameters.

        Returns:
            `(observation, state, reward, terminated, info)`; reaching a time limit is not a termination.
        """
        raise NotImplementedError(f"`step_env` must be implemented by {type(self).__name__}")

    def is_truncated(self, state: StateT, params: ParamsT) -> Array:
        """Whether the episode is truncated here, for example by a time limit; by default never.

        Args:
            state: State after a step.
            params: Environment parameters.

        Returns:
            Boolean scalar.
        """
        return jnp.zeros((), bool)

    def action_space(self, params: ParamsT | None = None) -> Space:
        """The action space; implemented by every environment."""
        raise NotImplementedError(f"`action_space` must be implemented by {type(self).__name__}")

    def observation_space(self, params: ParamsT | None = None) -> Space:
        """The observation space; implemented by every environment."""
        raise NotImplementedError(f"`observation_space` must be implemented by {type(self).__name__}")

    def horizon(self, params: ParamsT | None = None) -> int | None:
        """The longest possible episode, in steps; None if there is no bound."""
        return None

    def memory_length(self, params: ParamsT | None = None) -> int | None:
        """Number of steps over which information must be remembered; None if it is not a single number."""
        return None

    def credit_length(self, params: ParamsT | None = None) -> int | None:
        """Steps from a decisive action to its reward, 1 if immediate; None if it is not a single number."""
        return None
