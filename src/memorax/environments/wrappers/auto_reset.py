"""AutoReset: reset in the step that ends an episode."""

from typing import Any

import jax

from memorax.core.spaces import Space, from_foreign
from memorax.core.types import Array, Key, PyTree, strong
from memorax.environments.environment import Environment, Step, auto_reset
from memorax.environments.protocol import SIX, form, reset_values


class AutoReset(Environment[PyTree, PyTree]):
    """Add auto-reset to an object that only knows single episodes.

    The object has `reset_env(key, params) -> (observation, state)` and
    `step_env(key, state, action, params) -> (observation, state, reward, terminated, truncated, info)`, or the same
    two under the names `reset` and `step`. Every step computes a reset, which is discarded where the episode goes on.

    Attributes:
        raw: The object.
    """

    def __init__(self, raw: Any, params: PyTree | None = None) -> None:
        """Wrap the object.

        Args:
            raw: The object with single episodes.
            params: Its parameters; by default `raw.default_params`, or an empty tuple.

        Raises:
            TypeError: If methods are missing, a step does not return six values, or the object resets by itself.
        """
        pairs = (("reset_env", "step_env"), ("reset", "step"))
        names = next((pair for pair in pairs if all(hasattr(raw, name) for name in pair)), None)
        missing = [name for name in ("action_space", "observation_space") if not hasattr(raw, name)]
        if names is None or missing:
            raise TypeError(
                f"`raw` must have `reset_env` and `step_env` (or `reset` and `step`), `action_space` and "
                f"`observation_space`, got {type(raw).__name__} without "
                f"{', '.join(f'`{name}`' for name in missing or pairs[0])}"
            )
        self.raw = raw
        self._reset_raw, self._step_raw = (getattr(raw, name) for name in names)
        self._params = getattr(raw, "default_params", ()) if params is None else params
        self._check()

    def _check(self) -> None:
        name = type(self.raw).__name__

        def first_step(key: Key) -> None:
            _, state = reset_values(self.raw, self._reset_raw(key, self._params))
            stepped = self._step_raw(key, state, self.action_space().sample(key), self._params)
            if not isinstance(stepped, tuple) or len(stepped) != SIX:
                raise TypeError(
                    f"`step` of {name} must return (observation, state, reward, terminated, truncated, info), got "
                    f"{form(stepped)}"
                )
            if isinstance(stepped[-1], dict) and "final_observation" in stepped[-1]:
                raise TypeError(
                    f"`raw` must not reset by itself, got {name}, whose `info` holds `final_observation`; use it "
                    "without AutoReset"
                )

        jax.eval_shape(first_step, jax.random.key(0))

    @property
    def name(self) -> str:
        """Name of the object."""
        return str(getattr(self.raw, "name", type(self.raw).__name__))

    @property
    def default_params(self) -> Any:
        """Parameters that `reset` and `step` use by default."""
        return self._params

    def reset(self, key: Key, params: PyTree | None = None) -> tuple[PyTree, PyTree]:
        """Start an episode."""
        return strong(self._reset_raw(key, self._params if params is None else params))

    def step(self, key: Key, state: PyTree, action: Array, params: PyTree | None = None) -> Step:
        """Take one step and reset where it ends the episode."""
        params = self._params if params is None else params
        step_key, reset_key = jax.random.split(key)
        observation, state, reward, terminated, truncated, info = self._step_raw(step_key, state, action, params)
        fresh = self._reset_raw(reset_key, params)
        return auto_reset(fresh, (observation, state), (reward, terminated, truncated), info)

    def action_space(self, params: PyTree | None = None) -> Space:
        """The action space."""
        return from_foreign(self.raw.action_space(self._params if params is None else params))

    def observation_space(self, params: PyTree | None = None) -> Space:
        """The observation space."""
        return from_foreign(self.raw.observation_space(self._params if params is None else params))
