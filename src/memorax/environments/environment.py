"""The environment protocol: the base class of the built-in tasks, the adapters and the wrappers."""

from typing import Any, Generic, TypeVar

import jax
import jax.numpy as jnp
from flax import struct

from memorax.core.spaces import Space
from memorax.core.types import Array, Key, PyTree, strong
from memorax.environments.replace_where import replace_where, same_shapes

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
    fresh, stepped = strong(fresh), strong(stepped)
    done = has_ended(*outcome[1:])

    def choose(new: Array, old: Array) -> Array:
        same_shapes(new, old)  # `where` would broadcast
        return jnp.where(done, new, old)

    return complete_step(jax.tree.map(choose, fresh, stepped), stepped[0], outcome, info)


def has_ended(terminated: Array, truncated: Array) -> Array:
    """Whether an episode ended, bool, of flags of any kind."""
    return jnp.asarray(terminated).astype(bool) | jnp.asarray(truncated).astype(bool)


def complete_step(
    after: tuple[PyTree, PyTree], final_observation: PyTree, outcome: tuple[Array, Array, Array], info: dict[str, Any]
) -> Step:
    """Put the six values of a step together.

    Args:
        after: Observation and state after the step and, where it ended the episode, the reset.
        final_observation: Observation before the reset.
        outcome: `(reward, terminated, truncated)` of the step.
        info: Further outputs of the environment.
    """
    reward, terminated, truncated = (jnp.asarray(x) for x in outcome)
    info = {**info, "final_observation": final_observation}
    return *after, reward.astype(jnp.float32), terminated.astype(bool), truncated.astype(bool), info


class Environment(Generic[StateT, ParamsT]):
    """A single-agent environment with the protocol of gymnax 1.x.

    A subclass implements `reset_env` and `step_env` (one episode, without resets), the two spaces, and `is_truncated`
    if it has a time limit. `step` adds auto-reset: the step that ends an episode returns the first observation of the
    next one, and `info["final_observation"]` holds the last observation of the episode that ended; termination and
    truncation are reported separately. In a batch of environments the reset is computed for all of them in every step,
    unless there is a `reset_pool`.

    Attributes:
        reset_pool: Where a reset costs much more than a step, how many are computed at once for those environments of a
            batch whose episode ended; None computes one for every environment in every step.
        optimal_return: Expected return of the optimal policy with memory; None if not known in closed form.
        memoryless_return: Expected return of the optimal policy that depends on the current observation only; None
            if not known in closed form.
    """

    reset_pool: int | None = None
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
        step_key, reset_key = self.step_keys(key)
        observation, last, reward, terminated, info = self.step_env(step_key, state, action, given)
        outcome = (reward, terminated, self.is_truncated(last, given))
        stepped = observation, last
        if self.reset_pool is None:
            step = auto_reset(self.next_start(reset_key, last, given), stepped, outcome, info)
        else:
            ended, arguments = has_ended(*outcome[1:]), (key, last, given)
            after = replace_where(ended, self._start_after, arguments, stepped, self.reset_pool)
            step = complete_step(after, strong(observation), outcome, info)
        return *step[:5], self.complete_info(step[0], step[1], step[5])

    def _start_after(self, key: Key, last: StateT, params: ParamsT) -> tuple[PyTree, StateT]:
        return self.next_start(self.step_keys(key)[1], last, params)

    def step_keys(self, key: Key) -> tuple[Key, Key]:
        """Split the key of a step into those of the step itself and of the reset.

        Args:
            key: Random key.
        """
        step_key, reset_key = jax.random.split(key)
        return step_key, reset_key

    def next_start(self, key: Key, last: StateT, params: ParamsT) -> tuple[PyTree, StateT]:
        """Start the episode that follows another; by default whatever came before.

        Args:
            key: Random key.
            last: Last state of the episode before.
            params: Environment parameters.

        Returns:
            First observation and state.
        """
        return self.reset_env(key, params)

    def complete_info(self, observation: PyTree, state: StateT, info: dict[str, Any]) -> dict[str, Any]:
        """Add to `info` what describes the observation that is returned, after a reset that of the new episode.

        Args:
            observation: The observation that `step` returns.
            state: The state that it returns.
            info: What there is so far.
        """
        return info

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


def only_resets(env: Any) -> bool:
    """Whether `step` is that of `Environment`: `step_env`, then a reset, and nothing more.

    Args:
        env: An environment.
    """
    return type(env).step is Environment.step
