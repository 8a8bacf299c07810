"""What the embedded memory tasks have in common."""

from abc import abstractmethod
from typing import Any, TypeVar

import jax.numpy as jnp

from memorax.core.types import Array, Key, PyTree
from memorax.environments.environment import Environment

StateT = TypeVar("StateT")
ParamsT = TypeVar("ParamsT")
EntryT = TypeVar("EntryT")

DIFFICULTIES = ("Easy", "Medium", "Hard")


class Task(Environment[StateT, ParamsT]):
    """An environment whose randomness is drawn apart from its rules.

    `draw_start` and `draw` consume keys, `start` and `transition` are the rules and take what was drawn: a test, or
    a person, can lay the cards. Actions outside the action space are clipped to the nearest valid one.
    """

    @abstractmethod
    def draw_start(self, key: Key, params: ParamsT) -> PyTree:
        """Draw what an episode begins with.

        Args:
            key: Randomness.
            params: Parameters.

        Returns:
            What `start` takes.
        """

    @abstractmethod
    def start(self, drawn: PyTree, params: ParamsT) -> tuple[Array, StateT]:
        """Begin an episode with what was drawn.

        Args:
            drawn: What `draw_start` returns.
            params: Parameters.

        Returns:
            First observation and state.
        """

    def draw(self, key: Key, state: StateT, params: ParamsT) -> PyTree:
        """Draw what one step needs; by default nothing.

        Args:
            key: Randomness.
            state: State before the step.
            params: Parameters.

        Returns:
            What `transition` takes.
        """
        return ()

    @abstractmethod
    def transition(
        self, state: StateT, action: Array, drawn: PyTree, params: ParamsT
    ) -> tuple[Array, StateT, Array, Array]:
        """Take one step with what was drawn.

        Args:
            state: State before the step.
            action: A value of the action space.
            drawn: What `draw` returns.
            params: Parameters.

        Returns:
            `(observation, state, reward, terminated)`.
        """

    def reset_env(self, key: Key, params: ParamsT) -> tuple[Array, StateT]:
        """Begin an episode."""
        return self.start(self.draw_start(key, params), params)

    def step_env(
        self, key: Key, state: StateT, action: Array, params: ParamsT
    ) -> tuple[Array, StateT, Array, Array, dict[str, Any]]:
        """Take one step without any reset."""
        drawn = self.draw(key, state, params)
        return *self.transition(state, action, drawn, params), {}

    def render(self, state: StateT, params: ParamsT | None = None) -> Array:
        """Paint a state, hidden things included; tasks that can be painted overwrite it.

        Args:
            state: State of one environment.
            params: Parameters; by default `default_params`.

        Returns:
            RGB picture, uint8 `[height, width, 3]`.

        Raises:
            NotImplementedError: If the task has no picture.
        """
        raise NotImplementedError(f"`render` must be written by {type(self).__name__}, which has no picture")


def choose(difficulty: str, settings: dict[str, EntryT]) -> EntryT:
    """Look up the settings of a difficulty.

    Args:
        difficulty: "Easy", "Medium" or "Hard".
        settings: Settings by difficulty.

    Returns:
        The settings.

    Raises:
        ValueError: If there is no such difficulty.
    """
    if difficulty not in settings:
        raise ValueError(f"`difficulty` must be one of {', '.join(settings)}, got {difficulty!r}")
    return settings[difficulty]


def whole(name: str, value: int, least: int = 1, most: int | None = None) -> int:
    """Check an integer argument of a task.

    Args:
        name: Name of the argument, for the message.
        value: What was given.
        least: Smallest allowed value.
        most: Largest allowed value, None for any.

    Returns:
        The value.

    Raises:
        TypeError: If it is no integer.
        ValueError: If it is out of range.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"`{name}` must be an integer, got {value!r}")
    if value < least:
        raise ValueError(f"`{name}` must be at least {least}, got {value}")
    if most is not None and value > most:
        raise ValueError(f"`{name}` must be at most {most}, got {value}")
    return value


def clipped(action: Array, n: int) -> Array:
    """The nearest of the actions `0 .. n-1`, int32 scalar."""
    return jnp.clip(jnp.asarray(action), 0, n - 1).astype(jnp.int32)
