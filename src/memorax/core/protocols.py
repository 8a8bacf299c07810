"""What the rooms of the package expect of each other's objects."""

from typing import Any, Protocol, runtime_checkable

from memorax.core.spaces import Space
from memorax.core.types import Array, Key, PyTree


@runtime_checkable
class Environment(Protocol):
    """A world that resets itself: what agents act in.

    One environment without batch axis; agents apply `jax.vmap`. All methods are pure and work inside `jax.jit`.
    """

    @property
    def default_params(self) -> PyTree:
        """The parameters used where none are given: a container of arrays."""
        ...

    def reset(self, key: Key, params: PyTree | None = None) -> tuple[PyTree, PyTree]:
        """Begin an episode.

        Args:
            key: Randomness.
            params: Parameters of the environment.

        Returns:
            First observation and state.
        """
        ...

    def step(
        self, key: Key, state: PyTree, action: Array, params: PyTree | None = None
    ) -> tuple[PyTree, PyTree, Array, Array, Array, dict[str, Any]]:
        """Take one step; where it ends the episode, the next one begins within the same call.

        Args:
            key: Randomness.
            state: State of the environment.
            action: A value of the action space.
            params: Parameters of the environment.

        Returns:
            `(observation, state, reward, terminated, truncated, info)`. After an end, `observation` and `state` are
            the first of the next episode; `info["final_observation"]` is always the one this step led to.
        """
        ...

    def action_space(self, params: PyTree | None = None) -> Space:
        """The actions that `step` accepts."""
        ...

    def observation_space(self, params: PyTree | None = None) -> Space:
        """The observations that `reset` and `step` return."""
        ...
