"""Any environment that a user hands in, checked once, with one sentence for each thing that does not fit."""

from collections.abc import Mapping
from typing import Any
from weakref import WeakValueDictionary

import jax
import jax.numpy as jnp
import numpy as np

from memorax.core.spaces import Dict, Space, Tuple, from_foreign, plain, split_action_mask
from memorax.core.spaces.base import fits
from memorax.core.types import Key, PyTree
from memorax.environments.adapters.foreign import adapt
from memorax.environments.environment import Environment, Step
from memorax.environments.protocol import form, reset_values, step_values
from memorax.environments.wrappers.auto_reset import AutoReset
from memorax.environments.wrappers.base import Wrapper

_SPACES = ("action_space", "observation_space")
_CHECKED: "WeakValueDictionary[int, Environment]" = WeakValueDictionary()
"""Environments that were traced before: an agent after the first need not wait for it."""


def as_environment(env: Any, env_params: PyTree | None = None) -> Environment:
    """Take any environment that speaks a known protocol, and check it by tracing one reset and one step.

    Args:
        env: An `Environment`, a gymnax 1.x environment, one of a five-value fork of gymnax, an environment or vector
            environment of Gymnasium, or a function that makes one of these two.
        env_params: Its parameters; by default `env.default_params`.

    Returns:
        An environment with six-value steps, spaces of `memorax.core.spaces`, observations in dictionaries and tuples
        where their space is one (an environment may use any mapping, dataclass or named tuple), float32 rewards, and a
        state of strongly typed arrays; `env` itself where it is an `Environment` like that.

    Raises:
        TypeError: If it is a class, an environment that does not run in JAX, or lacks a method; or if `reset` or `step`
            return another number of values, or values of another type.
        ValueError: If an observation is not in the observation space, a reward or flag is not a scalar, shapes are not
            stable, or `info` lacks `final_observation`.
    """
    adapted = adapt(env, env_params)
    if env_params is None:
        env_params = adapted.default_params
    if not all(isinstance(_declared(adapted, kind, env_params), Space) for kind in _SPACES):
        adapted = _TranslatedSpaces(adapted)
    if not _is_built_in(adapted) and _CHECKED.get(id(adapted)) is not adapted:
        if _has_other_containers(adapted, env_params):
            adapted = _PlainObservations(adapted)
        _check_by_tracing(adapted, env_params)
        _CHECKED[id(adapted)] = adapted
    return adapted


def _is_built_in(env: Environment) -> bool:
    """Whether an environment, with its wrappers, is of this package, whose tests check more than is checked here."""
    inner = env.env if isinstance(env, Wrapper) else None
    module = type(env).__module__
    ours = module.startswith("memorax.environments.") and ".adapters." not in module and not isinstance(env, AutoReset)
    return ours and (inner is None or _is_built_in(inner))


class _TranslatedSpaces(Wrapper):
    """An environment whose spaces are those of another library, gymnasium for example."""

    def action_space(self, params: PyTree | None = None) -> Space:
        return from_foreign(_declared(self.env, "action_space", params))

    def observation_space(self, params: PyTree | None = None) -> Space:
        return from_foreign(_declared(self.env, "observation_space", params))


class _PlainObservations(Wrapper):
    """An environment whose observations are other mappings, dataclasses or named tuples: dictionaries and tuples."""

    def reset(self, key: Key, params: PyTree | None = None) -> tuple[PyTree, PyTree]:
        observation, state = reset_values(self.env, self.env.reset(key, params))
        return self._plain(observation), state

    def step(self, key: Key, state: PyTree, action: PyTree, params: PyTree | None = None) -> Step:
        observation, state, *outcome, info = step_values(self.env, self.env.step(key, state, action, params))
        info = {**info, "final_observation": self._plain(info["final_observation"])}
        return self._plain(observation), state, *outcome, info

    def _plain(self, observation: PyTree) -> PyTree:
        return plain(self.env.observation_space(self.env.default_params), observation)


def _has_other_containers(env: Environment, params: PyTree) -> bool:
    """Whether observations are nested as their space is, but not in dictionaries and tuples."""
    space = env.observation_space(params)
    if not isinstance(space, Dict | Tuple):
        return False
    differs: list[bool] = []

    def first(key: Key) -> None:
        observation, _ = reset_values(env, env.reset(key, params))
        differs.append(jax.tree.structure(observation) != jax.tree.structure(plain(space, observation)))

    jax.eval_shape(first, jax.random.key(0))
    return differs[0]


def _declared(env: Environment, kind: str, params: PyTree) -> Any:
    """A space as the environment declares it, by a method or by an attribute."""
    space = getattr(env, kind)
    return space(params) if callable(space) else space


def _check_by_tracing(env: Environment, params: PyTree) -> None:
    """Trace a reset and a step, and check everything they return."""
    name, action_space, observation_space = env.name, env.action_space(params), env.observation_space(params)
    scalar = (getattr(env, "num_agents"),) if hasattr(env, "agent_action_space") else ()  # noqa: B009 - not all have it

    def first_step(key: Key) -> None:
        first, state = reset_values(env, env.reset(key, params))
        _check_observation(name, first, observation_space)
        action = action_space.sample(key)
        stepped = step_values(env, env.step(key, state, action, params))
        observation, next_state, reward, terminated, truncated, info = stepped
        _check_observation(name, observation, observation_space)
        _check_observation(name, info["final_observation"], observation_space, "`final_observation`")
        _check_state(name, state, next_state)
        for what, value in (("reward", reward), ("terminated", terminated), ("truncated", truncated)):
            if np.shape(value) != scalar:
                wanted = f"have shape {scalar}" if scalar else "be a scalar"
                raise ValueError(f"`{what}` of {name} must {wanted}, got {form(value)}")

    jax.eval_shape(first_step, jax.random.key(0))


def _check_observation(name: str, value: Any, space: Space, what: str = "observation") -> None:
    """Check the structure, shapes and dtypes of an observation, as far as they are known while tracing."""
    if split_action_mask(space)[1] is None:  # a mask need not be declared
        value, _ = split_action_mask(value)
    if isinstance(space, Dict):
        if not isinstance(value, Mapping) or set(value) != set(space.spaces):
            raise ValueError(f"{what} of {name} must be a dict with keys {sorted(space.spaces)}, got {form(value)}")
        for key, part in space.spaces.items():
            _check_observation(name, value[key], part, f"{what}[{key!r}]")
    elif isinstance(space, Tuple):
        if not isinstance(value, tuple) or len(value) != len(space.spaces):
            raise ValueError(f"{what} of {name} must be a tuple of {len(space.spaces)}, got {form(value)}")
        for i, part in enumerate(space.spaces):
            _check_observation(name, value[i], part, f"{what}[{i}]")
    else:
        _check_array(name, value, space, what)


def _check_array(name: str, value: Any, space: Space, what: str) -> None:
    if not isinstance(value, jax.Array | np.ndarray | np.generic | bool | int | float):
        raise TypeError(f"{what} of {name} must be an array, as {space!r} says, got {form(value)}")
    if np.shape(value) != space.shape:
        raise ValueError(f"{what} of {name} must be in {space!r}, got {form(jnp.asarray(value))}")
    if not fits(value, space.shape, space.dtype):
        raise ValueError(f"{what} of {name} must be in {space!r}, got dtype {jnp.result_type(value)}")


def _check_state(name: str, first: PyTree, later: PyTree) -> None:
    """Check that a step keeps the structure and the shapes of the state."""
    before, after = jax.tree.structure(first), jax.tree.structure(later)
    if before != after:
        raise ValueError(f"state of {name} must keep its structure, got {before} after reset and {after} after step")
    for (path, old), new in zip(jax.tree_util.tree_leaves_with_path(first), jax.tree.leaves(later), strict=True):
        if np.shape(old) != np.shape(new):
            raise ValueError(
                f"state{jax.tree_util.keystr(path)} of {name} must keep its shape, got {np.shape(old)} after reset and "
                f"{np.shape(new)} after step"
            )
