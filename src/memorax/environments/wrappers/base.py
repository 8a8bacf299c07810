"""The base classes of wrappers."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from memorax.core.spaces import ACTION_MASK, Box, Dict, Space, change_space, plain
from memorax.core.types import Array, Key, PyTree
from memorax.environments.adapters.foreign import adapt
from memorax.environments.environment import Environment, Step
from memorax.environments.host import HostEnvironment


class Wrapper(Environment[PyTree, PyTree]):
    """An environment around an environment: whatever a subclass does not override is that of the inner one.

    What `step` is made of (`reset_env`, `step_env`, `is_truncated`, ...) is that of the inner environment and takes its
    state.

    Attributes:
        env: The inner environment.
    """

    def __init__(self, env: Any) -> None:
        """Wrap an environment.

        Args:
            env: Any object that `as_environment` takes.

        Raises:
            TypeError: If `env` does not speak the protocol, or runs in Python.
        """
        self.env = adapt(env)
        if isinstance(self.env, HostEnvironment):
            name, got = type(self).__name__, f"{self.env.name}, which runs in Python; take one of gymnasium.wrappers"
            raise TypeError(f"`env` of {name} must be an environment in JAX, got {got}")
        self._depth: int = 1 + (self.env._depth if isinstance(self.env, Wrapper) else 0)

    def own_key(self, key: Key) -> Key:
        """A random key for the wrapper itself; the inner environment keeps using `key`, as without the wrapper.

        Args:
            key: The key of `reset` or `step`.

        Returns:
            A key that neither the environment nor another wrapper around it uses.
        """
        # A small number would collide: `fold_in(key, 1)` is the second key of `split(key)`, which a step resets with.
        return jax.random.fold_in(key, 0x77000000 + self._depth)

    def __getattr__(self, name: str) -> Any:
        """Look up other names in the inner environment."""
        # Copying an object asks for private names and `env` before `__init__` has run.
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
        """Expected return of the optimal policy with memory."""
        return self.env.optimal_return

    @property
    def memoryless_return(self) -> float | None:  # type: ignore[override]
        """Expected return of the optimal policy that depends on the current observation only."""
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

    @property
    def reset_pool(self) -> int | None:  # type: ignore[override]
        """How many resets of the inner environment are computed at once."""
        return self.env.reset_pool

    def step_keys(self, key: Key) -> tuple[Key, Key]:
        """Split the key of a step as the inner environment does."""
        return self.env.step_keys(key)

    def next_start(self, key: Key, last: PyTree, params: PyTree) -> tuple[PyTree, PyTree]:
        """Begin the next episode of the inner environment."""
        return self.env.next_start(key, last, params)

    def complete_info(self, observation: PyTree, state: PyTree, info: dict[str, Any]) -> dict[str, Any]:
        """Add what the inner environment says about the observation that is returned."""
        return self.env.complete_info(observation, state, info)

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
        """The action space."""
        return self.env.action_space(params)

    def observation_space(self, params: PyTree | None = None) -> Space:
        """The observation space."""
        return self.env.observation_space(params)

    def horizon(self, params: PyTree | None = None) -> int | None:
        """The longest possible episode, in steps."""
        return self.env.horizon(params)

    def memory_length(self, params: PyTree | None = None) -> int | None:
        """Number of steps over which information must be remembered."""
        return self.env.memory_length(params)

    def credit_length(self, params: PyTree | None = None) -> int | None:
        """Steps from a decisive action to its reward."""
        return self.env.credit_length(params)

    def render(self, state: PyTree, params: PyTree | None = None) -> Array:
        """Render a state of the inner environment, if it can be rendered."""
        return getattr(self.env, "render")(getattr(state, "env_state", state), params)  # noqa: B009 - not all have it


class _ChangedObservation(Wrapper):
    """Other observations make another task, of which returns and memory length are not known."""

    @property
    def optimal_return(self) -> float | None:  # type: ignore[override]
        """None: not known for changed observations."""
        return None

    @property
    def memoryless_return(self) -> float | None:  # type: ignore[override]
        """None: not known for changed observations."""
        return None

    def memory_length(self, params: PyTree | None = None) -> int | None:
        """None: not known for changed observations."""
        return None

    def _plain(self, observation: PyTree) -> PyTree:
        """An observation of the inner environment in dictionaries and tuples."""
        return plain(self.env.observation_space(self.env.default_params), observation)


class ObservationWrapper(_ChangedObservation):
    """Transforms each observation, `info["final_observation"]` included.

    The result depends on the observation and a random key only; a subclass implements `transform` and
    `observation_space`. The state is that of the inner environment. Other observations make another task, so its
    returns and its memory length are not known.
    """

    def transform(self, key: Key, observation: PyTree) -> PyTree:
        """Transform an observation; implemented by every subclass.

        Args:
            key: Random key.
            observation: Observation of the inner environment.
        """
        raise NotImplementedError(f"`transform` must be implemented by {type(self).__name__}")

    def reset(self, key: Key, params: PyTree | None = None) -> tuple[PyTree, PyTree]:
        """Start an episode."""
        observation, state = self.env.reset(key, params)
        return self.transform(self.own_key(key), self._plain(observation)), state

    def step(self, key: Key, state: PyTree, action: Array, params: PyTree | None = None) -> Step:
        """Take one step and reset where it ends the episode."""
        observation, state, reward, terminated, truncated, info = self.env.step(key, state, action, params)
        final_key, first_key = jax.random.split(self.own_key(key))
        final = self.transform(final_key, self._plain(info["final_observation"]))
        shown = _where(terminated | truncated, self.transform(first_key, self._plain(observation)), final)
        return shown, state, reward, terminated, truncated, {**info, "final_observation": final}


@struct.dataclass
class HistoryState:
    """State of a wrapper with a memory of the episode.

    Attributes:
        env_state: State of the inner environment.
        history: What the wrapper keeps of the current episode.
    """

    env_state: PyTree
    history: PyTree


class HistoryWrapper(_ChangedObservation):
    """Transforms each observation by means of the episode so far; the history starts anew with every episode.

    A subclass implements `first`, `next` and `observation_space`. As in ObservationWrapper, `info["final_observation"]`
    is transformed too, with the history of the episode that ended, and facts about the task are not known.
    """

    def first(self, observation: PyTree) -> tuple[PyTree, PyTree]:
        """The first transformed observation and the history after it; implemented by every subclass.

        Args:
            observation: First observation of an episode.
        """
        raise NotImplementedError(f"`first` must be implemented by {type(self).__name__}")

    def next(self, history: PyTree, observation: PyTree, action: Array, reward: Array) -> tuple[PyTree, PyTree]:
        """A later transformed observation and the history after it; implemented by every subclass.

        Args:
            history: The history so far.
            observation: Next observation of the episode, the final one included.
            action: The action that led to it.
            reward: The reward that came with it.
        """
        raise NotImplementedError(f"`next` must be implemented by {type(self).__name__}")

    def reset(self, key: Key, params: PyTree | None = None) -> tuple[PyTree, HistoryState]:
        """Start an episode."""
        observation, env_state = self.env.reset(key, params)
        shown, history = self.first(self._plain(observation))
        return shown, HistoryState(env_state, history)

    def step(self, key: Key, state: HistoryState, action: Array, params: PyTree | None = None) -> Step:
        """Take one step and reset where it ends the episode."""
        observation, env_state, reward, terminated, truncated, info = self.env.step(
            key, state.env_state, action, params
        )
        final, history = self.next(state.history, self._plain(info["final_observation"]), action, reward)
        shown, history = _where(terminated | truncated, self.first(self._plain(observation)), (final, history))
        info = {**info, "final_observation": final}
        return shown, HistoryState(env_state, history), reward, terminated, truncated, info


def _where(condition: Array, yes: PyTree, no: PyTree) -> PyTree:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), yes, no)


def map_boxes(change: Callable[[Box], Box], space: Space, who: str) -> Any:
    """Change every Box of a space.

    Args:
        change: Maps a Box to another.
        space: A Box, or Dict and Tuple of boxes.
        who: Name of the wrapper, for the message.

    Returns:
        The space with its boxes changed.

    Raises:
        TypeError: If it contains anything but boxes.
    """

    def change_box(space: Any) -> Box:
        if not isinstance(space, Box):
            raise TypeError(
                f"`env` of {who} must have observations in a Box, or in Dict and Tuple of boxes, got {space!r}"
            )
        return change(space)

    return change_space(change_box, space)


def keep_mask(changed: Any, original: Any) -> Any:
    """Leave the action mask as it was: it says what can be done now, whatever of the observation is shown.

    Args:
        changed: A changed observation, or its space.
        original: The observation as it was, or its space.
    """
    parts = original.spaces if isinstance(original, Dict) else original
    if not isinstance(parts, Mapping) or ACTION_MASK not in parts:
        return changed
    rest = changed.spaces if isinstance(changed, Dict) else changed
    kept = {**rest, ACTION_MASK: parts[ACTION_MASK]}
    return Dict(kept) if isinstance(changed, Dict) else kept
