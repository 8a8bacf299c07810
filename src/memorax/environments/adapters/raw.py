"""What the adapters of JAX libraries share: one raw episode of theirs as an environment of ours."""

import importlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from memorax.core.checks import check, optional, size
from memorax.core.registry import suggest
from memorax.core.spaces import Box, Dict, Discrete, Space
from memorax.core.types import Array, Key, PyTree
from memorax.environments.environment import Environment, EnvParams, EnvState
from memorax.environments.missing import MissingExtraError
from memorax.environments.wrappers.reset_pool import ResetPool

Raw = tuple[PyTree, PyTree, Array, Array, Array]
"""`(observation, library_state, reward, terminated, truncated)` of one step without any reset."""


@struct.dataclass
class RawState(EnvState):
    """State of an adapted environment.

    Attributes:
        time: Completed steps of the episode, int32.
        truncated: Whether the last step was cut by a time limit, bool.
        inner: State of the library's own.
    """

    truncated: Array
    inner: PyTree


class RawEnvironment(Environment[RawState, Any]):
    """One episode of another library, with our automatic reset, time limit, dtypes and spaces.

    A subclass writes `begin` and `advance` (a single episode without any reset), gives the two spaces, and writes
    `legal_actions` and `render` where the library has them. What comes out of every adapter is the same:

    * the next episode starts in the step that ends one, and `info["final_observation"]` is the observation before it;
    * a time limit is a truncation, whether it is the library's or `max_steps`;
    * where there are legal actions, the observation is `{"action_mask": ..., "observation": ...}` and
      `info["action_mask"]` holds the mask of the observation that is returned;
    * leaves of observation and state keep one dtype each, strongly typed; rewards are float32;
    * the library is given keys as arrays of numbers, so that its states can be saved.
    """

    def __init__(
        self,
        name: str,
        foreign: Any,
        *,
        observation_space: Space,
        action_space: Space,
        params: PyTree = None,
        max_steps: int | None = None,
    ) -> None:
        """Hold the library's environment and find out the dtypes of its states.

        Args:
            name: Name of the environment in its library.
            foreign: The library's environment.
            observation_space: What `begin` and `advance` return, without a mask of actions.
            action_space: What `advance` takes.
            params: Parameters of the library; None where it has none.
            max_steps: Steps after which an episode is truncated; None where the library does that itself.
        """
        self._name, self.foreign, self.max_steps = name, foreign, max_steps
        self._observation_space, self._action_space = observation_space, action_space
        self._params = EnvParams() if params is None else params
        self._avals = self._stable_avals()
        mask = jax.eval_shape(self.legal_actions, self._avals[1])
        if mask is not None:
            spaces = {"action_mask": Box(0, 1, mask.shape, bool), "observation": observation_space}
            self._observation_space = Dict(spaces)

    # What a library's adapter writes.

    def begin(self, key: Key, params: PyTree) -> tuple[PyTree, PyTree]:
        """Start an episode of the library: its observation and its state; written by every adapter."""
        raise NotImplementedError(f"`begin` must be written by {type(self).__name__}")

    def advance(self, key: Key, inner: PyTree, action: Array, params: PyTree) -> Raw:
        """Take one step of the library without any reset; written by every adapter."""
        raise NotImplementedError(f"`advance` must be written by {type(self).__name__}")

    def legal_actions(self, inner: PyTree) -> Array | None:
        """Which actions a state of the library allows, bool `[actions]`; None where all are always allowed."""
        return None

    # What comes of it.

    @property
    def name(self) -> str:
        """Name of the environment in its own library."""
        return self._name

    @property
    def default_params(self) -> Any:
        """Parameters that `reset` and `step` use by default."""
        return self._params

    def reset_env(self, key: Key, params: PyTree) -> tuple[PyTree, RawState]:
        """Start an episode."""
        return self.first(*self.begin(key_data(key), params))

    def first(self, observation: PyTree, inner: PyTree) -> tuple[PyTree, RawState]:
        """First observation and state of an episode, made of those of the library."""
        observation, inner = self._cast((observation, inner))
        return self._shown(observation, inner), RawState(jnp.zeros((), jnp.int32), jnp.zeros((), bool), inner)

    def step_env(
        self, key: Key, state: RawState, action: Array, params: PyTree
    ) -> tuple[PyTree, RawState, Array, Array, dict[str, Any]]:
        """Take one step without any reset."""
        observation, inner, reward, terminated, truncated = self.advance(key_data(key), state.inner, action, params)
        observation, inner = self._cast((observation, inner))
        time, truncated = state.time + 1, jnp.asarray(truncated).astype(bool)
        if self.max_steps is not None:
            truncated |= time >= self.max_steps
        reward = jnp.asarray(reward).astype(jnp.float32)
        state = RawState(time, truncated, inner)
        return self._shown(observation, inner), state, reward, jnp.asarray(terminated).astype(bool), {}

    def is_truncated(self, state: RawState, params: PyTree) -> Array:
        """Whether the step that led to this state was cut by a time limit."""
        return state.truncated

    def complete_info(self, observation: PyTree, state: RawState, info: dict[str, Any]) -> dict[str, Any]:
        """Add what describes the observation that is returned, after a reset that of the new episode."""
        masked = isinstance(self._observation_space, Dict) and "action_mask" in self._observation_space.spaces
        return {**info, "action_mask": observation["action_mask"]} if masked else info

    def action_space(self, params: PyTree | None = None) -> Space:
        """The actions that `step` accepts."""
        return self._action_space

    def observation_space(self, params: PyTree | None = None) -> Space:
        """The observations that `reset` and `step` return."""
        return self._observation_space

    def horizon(self, params: PyTree | None = None) -> int | None:
        """The longest an episode can last, in steps, where the limit is ours."""
        return self.max_steps

    def _shown(self, observation: PyTree, inner: PyTree) -> PyTree:
        mask = self.legal_actions(inner)
        if mask is None:
            return observation
        # At an end some libraries allow nothing; a policy needs something to value.
        mask = mask.astype(bool)
        return {"action_mask": mask | ~mask.any(), "observation": observation}

    def _stable_avals(self) -> PyTree:
        """Shapes and dtypes of observation and state that another step does not change."""
        action = self._action_space.sample(jax.random.key(0))
        key = key_data(jax.random.key(0))
        avals = jax.eval_shape(lambda: self.begin(key, self._params))
        for _ in range(2):
            stepped = jax.eval_shape(lambda inner: self.advance(key, inner, action, self._params)[:2], avals[1])
            avals = jax.tree.map(self._agree, avals, stepped)
        return avals

    def _agree(self, first: jax.ShapeDtypeStruct, later: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        if first.shape != later.shape:
            raise ValueError(
                f"observation and state of {self.name} must keep their shapes, got {first.shape} after reset and "
                f"{later.shape} after step"
            )
        dtype = first.dtype if first.dtype == later.dtype else jnp.promote_types(first.dtype, later.dtype)
        return jax.ShapeDtypeStruct(first.shape, dtype)

    def _cast(self, pair: tuple[PyTree, PyTree]) -> tuple[PyTree, PyTree]:
        def cast(x: Any, aval: jax.ShapeDtypeStruct) -> Array:
            if jnp.issubdtype(aval.dtype, jax.dtypes.prng_key):
                return x
            return jax.lax.convert_element_type(jnp.asarray(x), np.dtype(aval.dtype))  # strongly typed

        return jax.tree.map(cast, pair, self._avals)


def key_data(key: Key) -> Array:
    """A random key as the numbers that libraries take too and keep in their states: checkpoints hold no other keys.

    Args:
        key: A typed key, or its numbers already.

    Returns:
        Its numbers, uint32.
    """
    return jax.random.key_data(key) if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else key


def pooled(env: Environment, reset_pool: int | None) -> tuple[Environment, PyTree]:
    """Finish what a library's `make` returns.

    Args:
        env: The adapted environment.
        reset_pool: How many resets are computed at once for the environments whose episode ended, at least 1; None
            computes one for every environment in every step.

    Returns:
        The environment and its default parameters.

    Raises:
        TypeError: If `reset_pool` is no integer.
        ValueError: If `reset_pool` is below 1.
    """
    pool = check("reset_pool", reset_pool, optional(size()))
    env = env if pool is None else ResetPool(env, pool)
    return env, env.default_params


def import_library(module: str, extra: str) -> Any:
    """Import a module of a library that need not be installed.

    Args:
        module: Full name of the module.
        extra: Name of the extra that installs the library.

    Returns:
        The module.

    Raises:
        MissingExtraError: If the library is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:
            raise  # the library is there, and something that it needs is not
        raise MissingExtraError(extra) from error


def check_name(suite: str, name: str, known: tuple[str, ...]) -> None:
    """Refuse a name that a library does not have.

    Raises:
        ValueError: It does not; the message suggests near misses.
    """
    if name not in known:
        raise ValueError(f"unknown environment `{suite}::{name}`{suggest(name, known)}")


def box_like(aval: jax.ShapeDtypeStruct, low: float = -np.inf, high: float = np.inf) -> Box:
    """A Box of the shape and dtype of an array."""
    return Box(low, high, aval.shape, aval.dtype)


def one_hot_cells(cells: Array, sizes: tuple[int, ...]) -> Array:
    """Write grids of ids as grids of one-hot vectors.

    Args:
        cells: Ids, integers `[..., layers]`.
        sizes: How many ids each layer has.

    Returns:
        Float32 `[..., sum(sizes)]`, the vectors of the layers side by side; an id out of range gives zeros.
    """
    return jnp.concatenate([jax.nn.one_hot(cells[..., i], n, dtype=jnp.float32) for i, n in enumerate(sizes)], -1)


def joint_action(nvec: tuple[int, ...]) -> tuple[Discrete, Callable[[Array], Array]]:
    """One choice among all combinations in place of several choices.

    Args:
        nvec: How many values each choice has.

    Returns:
        The space of the combinations, and what turns a combination into the choices, int32 `[choices]`.
    """
    return Discrete(int(np.prod(nvec))), lambda action: jnp.stack(jnp.unravel_index(action, nvec)).astype(jnp.int32)
