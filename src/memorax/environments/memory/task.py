"""What the embedded memory tasks have in common."""

from abc import abstractmethod
from typing import Any, TypeVar

from memorax.core.types import Array, Key, PyTree
from memorax.environments.environment import Environment, Step, end_or_go_on
from memorax.environments.memory.arguments import choose, clipped, whole
from memorax.environments.memory.chance import split

__all__ = ["DIFFICULTIES", "Task", "choose", "clipped", "whole"]

StateT = TypeVar("StateT")
ParamsT = TypeVar("ParamsT")

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

    def step(self, key: Key, state: StateT, action: Array, params: ParamsT | None = None) -> Step:
        """Take one step and, where it ends the episode, begin the next; see `Environment.step`."""
        given: ParamsT = self.default_params if params is None else params
        step_key, reset_key = split(key)
        observation, after, reward, terminated, info = self.step_env(step_key, state, action, given)
        truncated = self.is_truncated(after, given)
        fresh = self._begin(terminated | truncated, reset_key, given)
        return end_or_go_on(fresh, (observation, after), (reward, terminated, truncated), info)

    def _begin(self, ended: Array, key: Key, params: ParamsT) -> tuple[Array, StateT]:
        """What follows the end of an episode; not used where none ended."""
        return self.reset_env(key, params)

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
