"""What all memory tasks share: the base class `Task`, difficulties, and actions clipped into their space."""

from abc import abstractmethod
from typing import Any, TypeVar

import jax.numpy as jnp

from memorax.core.checks import check, choice
from memorax.core.types import Array, Key, PyTree
from memorax.environments.environment import Environment
from memorax.environments.memory.parts.prng import split

StateT = TypeVar("StateT")
ParamsT = TypeVar("ParamsT")
SettingsT = TypeVar("SettingsT")

DIFFICULTIES = ("Easy", "Medium", "Hard")


def settings_for(difficulty: str, settings: dict[str, SettingsT]) -> SettingsT:
    """Look up the settings of a difficulty.

    Args:
        difficulty: "Easy", "Medium" or "Hard".
        settings: Settings by difficulty.

    Returns:
        The settings.

    Raises:
        TypeError: If `difficulty` is not a string.
        ValueError: If there is no such difficulty.
    """
    return settings[check("difficulty", difficulty, choice(*settings))]


def clip_action(action: Array, n: int) -> Array:
    """Clip an action into `Discrete(n)`: the nearest of `0 .. n-1`, int32 scalar."""
    return jnp.clip(jnp.asarray(action), 0, n - 1).astype(jnp.int32)


class Task(Environment[StateT, ParamsT]):
    """An environment whose random draws are separate from its rules.

    `draw_start` and `draw` sample from a key. `start` and `transition` are deterministic and take the samples, so a
    test can play an episode with samples of its own. Actions outside the action space are clipped to the nearest valid
    one.
    """

    @abstractmethod
    def draw_start(self, key: Key, params: ParamsT) -> PyTree:
        """Sample everything random about the start of an episode.

        Args:
            key: Randomness.
            params: Parameters.

        Returns:
            The sample that `start` takes.
        """

    @abstractmethod
    def start(self, drawn: PyTree, params: ParamsT) -> tuple[Array, StateT]:
        """Start an episode from a sample; deterministic.

        Args:
            drawn: The sample that `draw_start` returns.
            params: Parameters.

        Returns:
            First observation and state.
        """

    def draw(self, key: Key, state: StateT, params: ParamsT) -> PyTree:
        """Sample everything random about one step; by default nothing.

        Args:
            key: Randomness.
            state: State before the step.
            params: Parameters.

        Returns:
            The sample that `transition` takes.
        """
        return ()

    @abstractmethod
    def transition(
        self, state: StateT, action: Array, drawn: PyTree, params: ParamsT
    ) -> tuple[Array, StateT, Array, Array]:
        """Take one step with a sample; deterministic.

        Args:
            state: State before the step.
            action: A value of the action space.
            drawn: The sample that `draw` returns.
            params: Parameters.

        Returns:
            `(observation, state, reward, terminated)`.
        """

    def step_keys(self, key: Key) -> tuple[Key, Key]:
        """Split the key of a step as all draws of the memory tasks are split."""
        step_key, reset_key = split(key)
        return step_key, reset_key

    def reset_env(self, key: Key, params: ParamsT) -> tuple[Array, StateT]:
        """Start an episode."""
        return self.start(self.draw_start(key, params), params)

    def step_env(
        self, key: Key, state: StateT, action: Array, params: ParamsT
    ) -> tuple[Array, StateT, Array, Array, dict[str, Any]]:
        """Take one step without any reset."""
        drawn = self.draw(key, state, params)
        return *self.transition(state, action, drawn, params), {}

    def render(self, state: StateT, params: ParamsT | None = None) -> Array:
        """Draw a state as an image, with what the agent cannot see; implemented by tasks that have one.

        Args:
            state: State of one environment.
            params: Parameters; by default `default_params`.

        Returns:
            RGB image, uint8 `[height, width, 3]`.

        Raises:
            NotImplementedError: If the task has no image.
        """
        raise NotImplementedError(f"`render` must be implemented by {type(self).__name__}, which has no image")
