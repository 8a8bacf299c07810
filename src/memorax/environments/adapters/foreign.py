"""Any object that speaks the protocol, or an older form of it, as an environment of ours.

Two forms are understood, told apart by how many values `step` returns:

* six, `(observation, state, reward, terminated, truncated, info)`, as gymnax 1.x: taken as it is;
* five, `(observation, state, reward, done, info)`, as gymnax 0.x and its forks: where the class has `reset_env` and
  `step_env` the steps are taken with these and the resets are ours, so that the observation before a reset is kept.
  An end is a truncation where `info["truncated"]` says so, or else where `state.time` has reached
  `params.max_steps_in_episode` (an end by the rules in that very step counts as truncation too, since `done` does not
  tell them apart); otherwise it is a termination. Where only the resetting `step` exists, the observation before a
  reset is lost: every end is then a termination, after which nothing is bootstrapped from it.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from memorax.core.spaces import Box, Discrete, Space, from_foreign
from memorax.core.types import Array, Key, PyTree
from memorax.environments.environment import Environment, Step, auto_reset

_NEEDED = ("reset", "step", "action_space", "observation_space")
_SIX, _FIVE = 6, 5


def as_environment(env: Any, env_params: PyTree | None = None) -> Environment:
    """Take any object that speaks the protocol; environments of ours pass through unchanged.

    Args:
        env: An `Environment`, a gymnax 1.x environment, or one of a five-value fork of gymnax.
        env_params: Its parameters; by default `env.default_params`.

    Returns:
        An environment with six-value steps, our spaces, float32 rewards, and a state of strongly typed arrays.

    Raises:
        TypeError: If methods are missing, or `step` returns neither six nor five values.
        ValueError: If `info` lacks `final_observation`, or the shapes of state or observation are not stable.
    """
    if isinstance(env, Environment):
        return env
    missing = [name for name in _NEEDED if not hasattr(env, name)]
    if missing:
        raise TypeError(
            f"`env` must have {', '.join(f'`{name}`' for name in _NEEDED)}, got {type(env).__name__} without "
            f"{', '.join(f'`{name}`' for name in missing)}"
        )
    if env_params is None:
        env_params = getattr(env, "default_params", None)
    arity = _count_step_values(env, env_params)
    if arity == _SIX:
        return SixValues(env, env_params)
    # Looked up on the class: a wrapper that forwards unknown names would lead past its own `step`.
    raw = hasattr(type(env), "reset_env") and hasattr(type(env), "step_env")
    return (FiveValuesRaw if raw else FiveValues)(env, env_params)


def _count_step_values(env: Any, params: PyTree) -> int:
    def first_step(key: Key) -> Any:
        started = env.reset(key, params)
        if not isinstance(started, tuple) or len(started) != 2:
            raise TypeError(f"`reset` of {type(env).__name__} must return (observation, state), got {_form(started)}")
        action = _space(env.action_space, params, params).sample(key)
        return env.step(key, started[1], action, params)

    stepped = jax.eval_shape(first_step, jax.random.key(0))
    if isinstance(stepped, tuple) and len(stepped) == _SIX:
        if not isinstance(stepped[5], dict) or "final_observation" not in stepped[5]:
            raise ValueError(
                f"`info` of {type(env).__name__}.step must hold `final_observation`, got {_form(stepped[5])}; where "
                "`step` does not reset, wrap the environment in AutoReset"
            )
        return _SIX
    if isinstance(stepped, tuple) and len(stepped) == _FIVE:
        return _FIVE
    raise TypeError(
        f"`step` of {type(env).__name__} must return (observation, state, reward, terminated, truncated, info) "
        f"or the older (observation, state, reward, done, info), got {_form(stepped)}"
    )


def _space(describe: Callable[[PyTree], Any], params: PyTree, default: PyTree) -> Space:
    """A space as a constant, also while tracing; parameters that are traced themselves give way to the default."""
    if params is None or any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(params)):
        params = default
    with jax.ensure_compile_time_eval():
        return from_foreign(describe(params))


def _form(value: Any) -> str:
    if isinstance(value, dict):
        return f"a dict with keys {sorted(value)}"
    return f"{len(value)} values" if isinstance(value, tuple) else type(value).__name__


class Foreign(Environment[PyTree, PyTree]):
    """An environment of another library; names that are not ours are looked up in it.

    The dtypes of the state are those on which a first and a second step agree, and all leaves are strongly typed;
    Python numbers in a state are thereby settled before a scan sees them.
    """

    def __init__(self, env: Any, params: PyTree) -> None:
        """Hold the environment and find out its dtypes.

        Args:
            env: The foreign environment.
            params: Its default parameters.
        """
        self.foreign = env
        self._params = params
        self._observation_avals, self._state_avals = self._settle()

    @property
    def name(self) -> str:
        """Name of the environment in its own library."""
        return str(getattr(self.foreign, "name", type(self.foreign).__name__))

    @property
    def default_params(self) -> Any:
        """The parameters it was given."""
        return self._params

    def __getattr__(self, name: str) -> Any:
        """Look up names of the other library's own."""
        if name.startswith("_") or name == "foreign":
            raise AttributeError(name)
        return getattr(self.foreign, name)

    def _reset(self, key: Key, params: PyTree) -> tuple[PyTree, PyTree]:
        return self.foreign.reset(key, params)

    def _step(self, key: Key, state: PyTree, action: Array, params: PyTree) -> Step:
        return self.foreign.step(key, state, action, params)

    def _settle(self) -> tuple[PyTree, PyTree]:
        """Avals of observation and state that one more step does not change."""
        params, key = self._params, jax.random.key(0)
        action = self.action_space(params).sample(key)
        avals = jax.eval_shape(lambda: self._reset(key, params))
        for _ in range(2):

            def step(state: PyTree) -> tuple[PyTree, PyTree]:
                return self._step(key, state, action, params)[:2]

            stepped = jax.eval_shape(step, avals[1])
            avals = jax.tree.map(self._agree, avals, stepped)
        return avals

    def _agree(self, first: jax.ShapeDtypeStruct, later: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        if first.shape != later.shape:
            raise ValueError(
                f"observation and state must keep their shapes, got {first.shape} after reset and "
                f"{later.shape} after step"
            )
        dtype = first.dtype if first.dtype == later.dtype else jnp.promote_types(first.dtype, later.dtype)
        return jax.ShapeDtypeStruct(first.shape, dtype)

    def _strong(self, observation: PyTree, state: PyTree) -> tuple[PyTree, PyTree]:
        return _cast(observation, self._observation_avals), _cast(state, self._state_avals)

    def reset(self, key: Key, params: PyTree | None = None) -> tuple[PyTree, PyTree]:
        """Start an episode."""
        return self._strong(*self._reset(key, self._params if params is None else params))

    def step(self, key: Key, state: PyTree, action: Array, params: PyTree | None = None) -> Step:
        """Take one step and reset where it ends the episode."""
        params = self._params if params is None else params
        observation, state, reward, terminated, truncated, info = self._step(key, state, action, params)
        info = {**info, "final_observation": _cast(info["final_observation"], self._observation_avals)}
        flags = (jnp.asarray(terminated).astype(bool), jnp.asarray(truncated).astype(bool))
        return *self._strong(observation, state), jnp.asarray(reward).astype(jnp.float32), *flags, info

    def action_space(self, params: PyTree | None = None) -> Space:
        """The actions that `step` accepts."""
        return _space(self.foreign.action_space, params, self._params)

    def observation_space(self, params: PyTree | None = None) -> Space:
        """The observations that `reset` and `step` return, in the dtype they really have."""
        declared = _space(self.foreign.observation_space, params, self._params)
        avals = self._observation_avals
        if isinstance(declared, Box) and hasattr(avals, "dtype") and declared.dtype != avals.dtype:
            return Box(declared.low, declared.high, declared.shape, avals.dtype)
        if isinstance(declared, Discrete) and hasattr(avals, "dtype") and declared.dtype != avals.dtype:
            return Discrete(declared.n, avals.dtype)
        return declared


class SixValues(Foreign):
    """An environment whose `step` keeps the protocol already."""


class FiveValues(Foreign):
    """An older environment that shows nothing but its resetting `step`: every end is a termination."""

    def _step(self, key: Key, state: PyTree, action: Array, params: PyTree) -> Step:
        observation, state, reward, done, info = self.foreign.step(key, state, action, params)
        done = jnp.asarray(done).astype(bool)
        info = {**info, "final_observation": observation}
        return observation, state, reward, done, jnp.zeros_like(done), info


class FiveValuesRaw(Foreign):
    """An older environment with `reset_env` and `step_env`: its rules, our resets."""

    def _reset(self, key: Key, params: PyTree) -> tuple[PyTree, PyTree]:
        return self.foreign.reset_env(key, params)

    def _step(self, key: Key, state: PyTree, action: Array, params: PyTree) -> Step:
        step_key, reset_key = jax.random.split(key)
        observation, state, reward, done, info = self.foreign.step_env(step_key, state, action, params)
        terminated, truncated = _two_ends(done, state, params, info)
        fresh, stepped = _alike(self._reset(reset_key, params), (observation, state))
        return auto_reset(fresh, stepped, (jnp.asarray(reward), terminated, truncated), info)


def _two_ends(done: Array, state: PyTree, params: PyTree, info: dict[str, Any]) -> tuple[Array, Array]:
    done = jnp.asarray(done).astype(bool)
    if "truncated" in info:
        truncated = jnp.asarray(info["truncated"]).astype(bool)
        return jnp.asarray(info.get("terminated", done & ~truncated)).astype(bool), truncated
    if hasattr(state, "time") and hasattr(params, "max_steps_in_episode"):
        truncated = done & (state.time >= params.max_steps_in_episode)
        return done & ~truncated, truncated
    return done, jnp.zeros_like(done)


def _alike(fresh: PyTree, stepped: PyTree) -> tuple[PyTree, PyTree]:
    """Both trees in the dtypes that hold either."""
    pairs = jax.tree.map(lambda a, b: jnp.promote_types(jnp.result_type(a), jnp.result_type(b)), fresh, stepped)
    return tuple(jax.tree.map(lambda x, dtype: jnp.asarray(x).astype(dtype), tree, pairs) for tree in (fresh, stepped))


def _cast(tree: PyTree, avals: PyTree) -> PyTree:
    def cast(x: Any, aval: jax.ShapeDtypeStruct) -> Array:
        if jnp.issubdtype(aval.dtype, jax.dtypes.prng_key):
            return x
        # A conversion to a named dtype also takes the weakness of the type away.
        return jax.lax.convert_element_type(jnp.asarray(x), np.dtype(aval.dtype))

    return jax.tree.map(cast, tree, avals)
