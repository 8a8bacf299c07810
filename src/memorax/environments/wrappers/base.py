"""What every wrapper is, and what wrappers of observations have in common."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from memorax.core.spaces import Box, Dict, Space, Tuple
from memorax.core.types import Array, Key, PyTree
from memorax.environments.adapters.foreign import as_environment
from memorax.environments.environment import Environment, Step


class Wrapper(Environment[PyTree, PyTree]):
    """An environment around an environment: whatever a subclass does not write is that of the inner one.

    `reset_env`, `step_env` and `is_truncated` are those of the inner environment and take its state.

    Attributes:
        env: The inner environment.
    """

    def __init__(self, env: Any) -> None:
        """Wrap an environment.

        Args:
            env: Any object that `as_environment` takes.

        Raises:
            TypeError: If `env` does not speak the protocol.
        """
        self.env = as_environment(env)
        self._depth: int = 1 + (self.env._depth if isinstance(self.env, Wrapper) else 0)

    def own_key(self, key: Key) -> Key:
        """Randomness for the wrapper itself; the inner environment gets `key`, so that it does what it does alone.

        Args:
            key: The key of `reset` or `step`.

        Returns:
            A key that neither the environment nor another wrapper around it uses.
        """
        # Small numbers would not do: `fold_in(key, 1)` is the second key of `split(key)`, which a step resets with.
        return jax.random.fold_in(key, 0x77000000 + self._depth)

    def __getattr__(self, name: str) -> Any:
        """Look up what is not ours in the inner environment."""
        # Private names and `env` itself are asked for before `__init__` has run when an object is copied.
        if name.startswith("_") or name == "env":
            raise AttributeError(f"`{type(self).__name__}` has no attribute `{name}`")
        return getattr(self.env, name)

    @property
    def unwrapped(self) -> Environment:
        """The environment inside all wrappers."""
        return self.env.unwrapped if isinstance(self.env, Wrapper) else self.env

    @property
    def name(self) -> str:
        """Name of the environment."""
        return self.env.name

    @property
    def optimal_return(self) -> float | None:  # type: ignore[override]
        """Expected return of the best policy with memory."""
        return self.env.optimal_return

    @property
    def memoryless_return(self) -> float | None:  # type: ignore[override]
        """Expected return of the best policy that sees only the current observation."""
        return self.env.memoryless_return

    @property
    def default_params(self) -> Any:
        """Parameters that `reset` and `step` use by default."""
        return self.env.default_params

    def reset(self, key: Key, params: PyTree | None = None) -> tuple[PyTree, PyTree]:
        """Start an episode."""
        return self.env.reset(key, params)

    def step(self, key: Key, state: PyTree, action: Array, params: PyTree | None = None) -> Step:
        """Take one step and reset where it ends the episode."""
        return self.env.step(key, state, action, params)

    def reset_env(self, key: Key, params: PyTree) -> tuple[PyTree, PyTree]:
        """Begin an episode of the inner environment."""
        return self.env.reset_env(key, params)

    def step_env(
        self, key: Key, state: PyTree, action: Array, params: PyTree
    ) -> tuple[PyTree, PyTree, Array, Array, dict[str, Any]]:
        """Take one step of the inner environment without any reset."""
        return self.env.step_env(key, state, action, params)

    def is_truncated(self, state: PyTree, params: PyTree) -> Array:
        """Whether the inner environment cuts the episode here."""
        return self.env.is_truncated(state, params)

    def action_space(self, params: PyTree | None = None) -> Space:
        """The actions that `step` accepts."""
        return self.env.action_space(params)

    def observation_space(self, params: PyTree | None = None) -> Space:
        """The observations that `reset` and `step` return."""
        return self.env.observation_space(params)

    def horizon(self, params: PyTree | None = None) -> int | None:
        """The longest an episode can last, in steps."""
        return self.env.horizon(params)

    def memory_length(self, params: PyTree | None = None) -> int | None:
        """For how many steps information must be kept."""
        return self.env.memory_length(params)

    def credit_length(self, params: PyTree | None = None) -> int | None:
        """Steps from a decisive action to the reward it earns."""
        return self.env.credit_length(params)

    def render(self, state: PyTree, params: PyTree | None = None) -> Array:
        """Paint a state of the inner environment, where that can."""
        return getattr(self.env, "render")(getattr(state, "env_state", state), params)  # noqa: B009 - not all have it


class _Reshown(Wrapper):
    """With other observations it is another task, whose returns and memory length are not known."""

    @property
    def optimal_return(self) -> float | None:  # type: ignore[override]
        """Not known."""
        return None

    @property
    def memoryless_return(self) -> float | None:  # type: ignore[override]
        """Not known."""
        return None

    def memory_length(self, params: PyTree | None = None) -> int | None:
        """Not known."""
        return None


class ObservationWrapper(_Reshown):
    """Shows something else in place of each observation, `info["final_observation"]` included.

    What is shown depends on nothing but the observation and a key; a subclass writes `show` and
    `observation_space`. The state is that of the inner environment. With other observations it is another task, so
    its returns and its memory length are not known.
    """

    def show(self, key: Key, observation: PyTree) -> PyTree:
        """What is shown; written by every subclass.

        Args:
            key: Randomness.
            observation: What the inner environment shows.
        """
        raise NotImplementedError(f"`show` must be written by {type(self).__name__}")

    def reset(self, key: Key, params: PyTree | None = None) -> tuple[PyTree, PyTree]:
        """Start an episode."""
        observation, state = self.env.reset(key, params)
        return self.show(self.own_key(key), observation), state

    def step(self, key: Key, state: PyTree, action: Array, params: PyTree | None = None) -> Step:
        """Take one step and reset where it ends the episode."""
        observation, state, reward, terminated, truncated, info = self.env.step(key, state, action, params)
        final_key, first_key = jax.random.split(self.own_key(key))
        final = self.show(final_key, info["final_observation"])
        shown = _where(terminated | truncated, self.show(first_key, observation), final)
        return shown, state, reward, terminated, truncated, {**info, "final_observation": final}


@struct.dataclass
class HistoryState:
    """State of a wrapper that remembers.

    Attributes:
        env_state: State of the inner environment.
        history: What the wrapper remembers of the running episode.
    """

    env_state: PyTree
    history: PyTree


class HistoryWrapper(_Reshown):
    """Shows something made of all observations of an episode; the history begins anew with every episode.

    A subclass writes `begin`, `go_on` and `observation_space`. As for ObservationWrapper, `info["final_observation"]`
    is shown in the same way, with the history of the episode that ended, and facts about the task are not known.
    """

    def begin(self, observation: PyTree) -> tuple[PyTree, PyTree]:
        """What is shown first and what is remembered of it; written by every subclass.

        Args:
            observation: First observation of an episode.
        """
        raise NotImplementedError(f"`begin` must be written by {type(self).__name__}")

    def go_on(self, history: PyTree, observation: PyTree, action: Array, reward: Array) -> tuple[PyTree, PyTree]:
        """What is shown later and what is remembered of it; written by every subclass.

        Args:
            history: What was remembered.
            observation: Next observation of the episode, the last one included.
            action: The action that led to it.
            reward: The reward that came with it.
        """
        raise NotImplementedError(f"`go_on` must be written by {type(self).__name__}")

    def reset(self, key: Key, params: PyTree | None = None) -> tuple[PyTree, HistoryState]:
        """Start an episode."""
        observation, env_state = self.env.reset(key, params)
        shown, history = self.begin(observation)
        return shown, HistoryState(env_state, history)

    def step(self, key: Key, state: HistoryState, action: Array, params: PyTree | None = None) -> Step:
        """Take one step and reset where it ends the episode."""
        observation, env_state, reward, terminated, truncated, info = self.env.step(
            key, state.env_state, action, params
        )
        final, history = self.go_on(state.history, info["final_observation"], action, reward)
        shown, history = _where(terminated | truncated, self.begin(observation), (final, history))
        info = {**info, "final_observation": final}
        return shown, HistoryState(env_state, history), reward, terminated, truncated, info


def _where(condition: Array, yes: PyTree, no: PyTree) -> PyTree:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), yes, no)


def map_boxes(change: Callable[[Box], Box], space: Space, who: str) -> Any:
    """Change every Box of a space.

    Args:
        change: What to make of each.
        space: A Box, or Dict and Tuple of boxes.
        who: Whose observations these are, for the message.

    Returns:
        The space with its boxes changed.

    Raises:
        TypeError: If there is something other than a Box in it.
    """
    if isinstance(space, Dict):
        return Dict({name: map_boxes(change, part, who) for name, part in space.spaces.items()})
    if isinstance(space, Tuple):
        return Tuple([map_boxes(change, part, who) for part in space.spaces])
    if not isinstance(space, Box):
        raise TypeError(f"`env` of {who} must have observations in a Box, or in Dict and Tuple of boxes, got {space!r}")
    return change(space)


def check_broadcast(name: str, value: np.ndarray, shape: tuple[int, ...]) -> None:
    """Refuse an array that does not broadcast to a shape.

    Args:
        name: Name of the argument, for the message.
        value: What was given.
        shape: What it must broadcast to.

    Raises:
        ValueError: It does not.
    """
    axes = len(shape) - value.ndim
    if axes < 0 or any(size not in (1, full) for size, full in zip(value.shape, shape[axes:], strict=True)):
        raise ValueError(f"`{name}` must broadcast to the observation's shape {shape}, got shape {value.shape}")


def with_zero(box: Box) -> Box:
    """The smallest Box around this one that holds zero, which stands for seeing nothing."""
    return Box(box.low.clip(max=0), box.high.clip(min=0), box.shape, box.dtype)
