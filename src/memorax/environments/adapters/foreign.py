"""Environments of other libraries, in the protocol of gymnax 1.x or an older form of it, as environments of ours.

Two forms are known, told apart by how many values `step` returns:

* six, `(observation, state, reward, terminated, truncated, info)`, as gymnax 1.x: taken as it is;
* five, `(observation, state, reward, done, info)`, as gymnax 0.x and its forks: where the class has `reset_env` and
  `step_env`, these are used with auto-reset of ours, so that `final_observation` is kept. An end is a truncation where
  `info["truncated"]` says so, or else where the clock in the state has reached the time limit in the parameters; both
  are found by their known names, and a parameter that looks like a time limit without being known is warned of. (An end
  by the rules in that very step counts as truncation too: `done` does not tell them apart.) Otherwise it is a
  termination. Where only the resetting `step` exists, the observation before a reset is lost, so every end is a
  termination, after which nothing is bootstrapped.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from memorax.core.spaces import Box, Discrete, Space, from_foreign
from memorax.core.types import Array, Key, PyTree
from memorax.environments.environment import Environment, Step, auto_reset
from memorax.environments.host import find_host
from memorax.environments.protocol import FIVE, SIX, refuse_other_objects, reset_values, step_values
from memorax.environments.time_limits import split_done, warn_of_time_limit


def adapt(env: Any, env_params: PyTree | None = None) -> Environment:
    """Adapt an environment of another library; environments of ours pass through unchanged.

    Args:
        env: An `Environment`, a gymnax 1.x environment, one of a five-value fork of gymnax, or what `as_host` takes.
        env_params: Its parameters; by default `env.default_params`.

    Returns:
        An environment with six-value steps, our spaces, float32 rewards, and a state of strongly typed arrays.

    Raises:
        TypeError: If it does not speak a known protocol: is a class, runs outside JAX, lacks a method, or if `reset`
            does not return two values or `step` neither six nor five.
        ValueError: If `info` lacks `final_observation`, or the shapes of state or observation are not stable.
    """
    if isinstance(env, Environment):
        return env
    host = find_host(env)
    if host is not None:
        return host
    refuse_other_objects(env)
    if env_params is None:
        env_params = getattr(env, "default_params", None)
    if _count_step_values(env, env_params) == SIX:
        return SixValues(env, env_params)
    # Looked up on the class: a wrapper that forwards unknown names would lead past its own `step`.
    raw = hasattr(type(env), "reset_env") and hasattr(type(env), "step_env")
    return (FiveValuesRaw if raw else FiveValues)(env, env_params)


def _count_step_values(env: Any, params: PyTree) -> int:
    counts: list[int] = []

    def first_step(key: Key) -> None:
        _, state = reset_values(env, env.reset(key, params))
        action = _space(env, "action_space", params, params).sample(key)
        counts.append(len(step_values(env, env.step(key, state, action, params), (SIX, FIVE))))

    jax.eval_shape(first_step, jax.random.key(0))
    return counts[0]


def _space(env: Any, kind: str, params: PyTree, default: PyTree) -> Space:
    """A space as a constant, also while tracing; parameters that are traced themselves give way to the default."""
    if params is None or any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(params)):
        params = default
    describe = getattr(env, kind)
    with jax.ensure_compile_time_eval():
        return from_foreign(describe(params) if callable(describe) else describe)


class Foreign(Environment[PyTree, PyTree]):
    """An environment of another library; other attributes are looked up in it.

    The dtypes of the state are those on which a first and a second step agree, and all leaves are strongly typed, so
    that `jax.lax.scan` accepts states with Python numbers.
    """

    def __init__(self, env: Any, params: PyTree) -> None:
        """Adapt the environment and find its dtypes.

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
        """Look up other names in the foreign environment."""
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
        """The action space."""
        return _space(self.foreign, "action_space", params, self._params)

    def observation_space(self, params: PyTree | None = None) -> Space:
        """The observation space, with the dtype that observations really have."""
        declared = _space(self.foreign, "observation_space", params, self._params)
        avals = self._observation_avals
        if isinstance(declared, Box) and hasattr(avals, "dtype") and declared.dtype != avals.dtype:
            return Box(declared.low, declared.high, declared.shape, avals.dtype)
        if isinstance(declared, Discrete) and hasattr(avals, "dtype") and declared.dtype != avals.dtype:
            return Discrete(declared.n, avals.dtype)
        return declared


class SixValues(Foreign):
    """An environment whose `step` returns six values already."""


class FiveValues(Foreign):
    """An older environment of which only the resetting `step` is known: every end is a termination."""

    def __init__(self, env: Any, params: PyTree) -> None:
        super().__init__(env, params)
        warn_of_time_limit(self.name, params, None)

    def _step(self, key: Key, state: PyTree, action: Array, params: PyTree) -> Step:
        observation, state, reward, done, info = self.foreign.step(key, state, action, params)
        done = jnp.asarray(done).astype(bool)
        info = {**info, "final_observation": observation}
        return observation, state, reward, done, jnp.zeros_like(done), info


class FiveValuesRaw(Foreign):
    """An older environment with `reset_env` and `step_env`, to which auto-reset is added."""

    def __init__(self, env: Any, params: PyTree) -> None:
        self._tells_truncation = False
        super().__init__(env, params)
        state = jax.eval_shape(lambda: self._reset(jax.random.key(0), params))[1]
        if not self._tells_truncation:
            warn_of_time_limit(self.name, params, state)

    def _reset(self, key: Key, params: PyTree) -> tuple[PyTree, PyTree]:
        return self.foreign.reset_env(key, params)

    def _step(self, key: Key, state: PyTree, action: Array, params: PyTree) -> Step:
        step_key, reset_key = jax.random.split(key)
        observation, state, reward, done, info = self.foreign.step_env(step_key, state, action, params)
        self._tells_truncation = "truncated" in info
        terminated, truncated = split_done(done, state, params, info)
        fresh, stepped = _alike(self._reset(reset_key, params), (observation, state))
        return auto_reset(fresh, stepped, (jnp.asarray(reward), terminated, truncated), info)


def _is_key(x: Any) -> bool:
    return hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


def _alike(fresh: PyTree, stepped: PyTree) -> tuple[PyTree, PyTree]:
    """Both trees in the dtypes that hold either; random keys stay as they are."""

    def convert(x: Any, y: Any) -> Any:
        return x if _is_key(x) else jnp.asarray(x).astype(jnp.promote_types(jnp.result_type(x), jnp.result_type(y)))

    return jax.tree.map(convert, fresh, stepped), jax.tree.map(convert, stepped, fresh)


def _cast(tree: PyTree, avals: PyTree) -> PyTree:
    def cast(x: Any, aval: jax.ShapeDtypeStruct) -> Array:
        if jnp.issubdtype(aval.dtype, jax.dtypes.prng_key):
            return x
        # A conversion to a named dtype also takes the weakness of the type away.
        return jax.lax.convert_element_type(jnp.asarray(x), np.dtype(aval.dtype))

    return jax.tree.map(cast, tree, avals)
