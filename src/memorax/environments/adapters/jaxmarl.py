"""The environments of JaxMARL, as `jaxmarl::<id>`."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from memorax.core.registry import suggest
from memorax.core.spaces import Box, Dict, Discrete, MultiDiscrete, Space, encode, from_foreign
from memorax.core.types import Array, Key, PyTree
from memorax.environments.adapters.raw import import_library
from memorax.environments.environment import EnvParams
from memorax.environments.multi_agent import MultiAgentEnvironment

jaxmarl = import_library("jaxmarl", "jaxmarl")


def names() -> tuple[str, ...]:
    """Ids of all environments of JaxMARL."""
    return tuple(jaxmarl.registration.registered_envs)


def make(name: str, **kwargs: Any) -> tuple["JaxMARL", EnvParams]:
    """Create an environment of JaxMARL.

    Args:
        name: Id in JaxMARL, for example `MPE_simple_spread_v3`.
        **kwargs: Arguments of its constructor.

    Returns:
        The environment and its parameters, of which it has none.

    Raises:
        ImportError: If it needs a library that JaxMARL does without.
        TypeError: If some agents have discrete and others continuous actions, a space is of no known kind, or agents
            have no observations of their own.
        ValueError: If JaxMARL has no such environment.
    """
    if name not in names():
        raise ValueError(f"unknown environment `jaxmarl::{name}`{suggest(name, names())}")
    env = JaxMARL(jaxmarl.make(name, **kwargs))
    return env, env.default_params


@struct.dataclass
class JaxMARLState:
    """State of an environment of JaxMARL.

    Attributes:
        inner: Its own state.
        out: Which agents are done, boolean `[agents]`.
        truncated: Which agents were truncated, boolean `[agents]`.
    """

    inner: PyTree
    out: Array
    truncated: Array


class JaxMARL(MultiAgentEnvironment[JaxMARLState, EnvParams]):
    """An environment of JaxMARL; its agents, in its order, are the rows of every array.

    Observations are flattened to vectors, as their space describes them or, where it does not fit them, part by part,
    and padded with zeros to the longest. Discrete action spaces are padded to the largest, and where sizes differ or
    the environment reports available actions, an observation is `{"action_mask": ..., "observation": ...}`. Continuous
    actions are padded too; extra dimensions are ignored.

    An agent is done from its own done flag on. The library does not report time limits: an end is a truncation where
    the environment has `max_steps` and the clock of its state has reached it, otherwise a termination. An agent that
    reaches its goal in that very step counts as truncated.

    Args:
        env: Environment of JaxMARL.

    Raises:
        TypeError: If some agents have discrete and others continuous actions, a space is of no known kind, or agents
            have no observations of their own.
    """

    def __init__(self, env: Any) -> None:
        self.foreign = env
        self.agents = tuple(env.agents)
        self.num_agents = len(self.agents)
        self._actions: list[Any] = [_space(env.action_space(agent)) for agent in self.agents]
        kinds = {type(space) for space in self._actions}
        if kinds not in ({Discrete}, {Box}):
            raise TypeError(
                f"`env` must have agents with Discrete actions or agents with Box actions, got {self._actions} of "
                f"{self.name}"
            )
        self._discrete = kinds == {Discrete}
        key = jax.random.key(0)
        _, state = jax.eval_shape(env.reset, key)
        try:
            rows = jax.eval_shape(lambda: self._rows(env.reset(key)[0]))
        except (KeyError, TypeError) as error:
            raise TypeError(
                f"`env` must give every agent an observation of its own, got {self.name}, which gives one for all; "
                "wrap it so that it does"
            ) from error
        spaces = [_space(env.observation_space(agent)) for agent in self.agents]
        self._write = [_flattener(*pair) for pair in zip(spaces, rows, strict=True)]
        shapes = [jax.eval_shape(write, row) for write, row in zip(self._write, rows, strict=True)]
        self._width = max(shape.shape[-1] for shape in shapes)
        self._masked = self._discrete and (len(set(self._actions)) > 1 or self._tells_actions(state))

    @property
    def name(self) -> str:
        """Name of the environment in its own library."""
        return str(self.foreign.name)

    def _rows(self, by_agent: Any) -> list[Any]:
        # Where agents are numbers, their values may be rows of an array or entries of a tuple.
        return [by_agent[agent] for agent in self.agents]

    def _available(self, state: PyTree) -> dict[str, Array]:
        """Which actions each agent may take."""
        legal = getattr(self.foreign, "get_legal_moves", None)
        return self.foreign.get_avail_actions(state) if legal is None else legal(state)

    def _tells_actions(self, state: PyTree) -> bool:
        try:
            jax.eval_shape(self._available, state)
        except NotImplementedError:
            return False
        return True

    def _observe(self, by_agent: dict[str, Any], state: PyTree) -> PyTree:
        vectors = [write(row) for write, row in zip(self._write, self._rows(by_agent), strict=True)]
        observation = jnp.stack([jnp.pad(x, (0, self._width - x.shape[0])) for x in vectors])
        if not self._masked:
            return observation
        sizes = np.array([space.n for space in self._actions])
        mask = jnp.arange(sizes.max()) < sizes[:, None]
        if self._tells_actions(state):
            available = self._rows(self._available(state))
            told = jnp.stack([jnp.pad(x.astype(bool), (0, sizes.max() - x.shape[0])) for x in available])
            # A mask that allows nothing, as after the end of a game, would leave no action.
            mask &= told | ~told.any(axis=1, keepdims=True)
        return {"action_mask": mask, "observation": observation}

    def reset_env(self, key: Key, params: EnvParams) -> tuple[PyTree, JaxMARLState]:
        """Start an episode."""
        by_agent, inner = self.foreign.reset(key)
        nobody = jnp.zeros(self.num_agents, bool)
        return self._observe(by_agent, inner), JaxMARLState(inner, nobody, nobody)

    def step_env(
        self, key: Key, state: JaxMARLState, action: Array, params: EnvParams
    ) -> tuple[PyTree, JaxMARLState, Array, Array, dict[str, Any]]:
        """Take one step without any reset."""
        actions = {name: self._own(i, action[i]) for i, name in enumerate(self.agents)}
        by_agent, inner, reward, done, _ = self.foreign.step_env(key, state.inner, actions)
        everyone = jnp.asarray(done["__all__"]).astype(bool)
        # Some report only the end for all.
        each = jnp.stack([jnp.asarray(done.get(agent, everyone)) for agent in self.agents])
        ended = (each.astype(bool) | everyone) & ~state.out
        truncated = state.truncated | (ended & self._out_of_time(inner))
        out = state.out | ended
        reward = jnp.stack([jnp.asarray(x, jnp.float32).reshape(()) for x in self._rows(reward)])
        return self._observe(by_agent, inner), JaxMARLState(inner, out, truncated), reward, out & ~truncated, {}

    def _own(self, i: int, action: Array) -> Array:
        space = self._actions[i]
        if isinstance(space, Discrete):
            return jnp.clip(action, 0, space.n - 1).astype(space.dtype)
        return jnp.clip(action[: space.shape[0]], space.low, space.high).astype(space.dtype)

    def _out_of_time(self, inner: PyTree) -> Array:
        limit = getattr(self.foreign, "max_steps", None)
        while hasattr(inner, "state"):  # wrapped, as that of units against a scripted enemy
            inner = inner.state
        clock = next((getattr(inner, name) for name in ("step", "time") if hasattr(inner, name)), None)
        if limit is None or clock is None:
            return jnp.zeros((), bool)
        return jnp.asarray(clock >= limit).reshape(())

    def is_truncated(self, state: JaxMARLState, params: EnvParams) -> Array:
        """Which agents were truncated, boolean `[agents]`."""
        return state.truncated

    def agent_action_space(self, params: EnvParams | None = None) -> Space:
        """The largest action space of an agent."""
        if self._discrete:
            return Discrete(max(space.n for space in self._actions))
        low, high = (self._padded([getattr(space, end) for space in self._actions]) for end in ("low", "high"))
        return Box(low.min(axis=0), high.max(axis=0))

    def _padded(self, rows: list[np.ndarray]) -> np.ndarray:
        width = max(row.shape[0] for row in rows)
        return np.stack([np.pad(row, (0, width - row.shape[0]), mode="edge") for row in rows])

    def agent_observation_space(self, params: EnvParams | None = None) -> Space:
        """An unbounded vector, with an action mask where there is one."""
        vector = Box(-jnp.inf, jnp.inf, (self._width,))
        if not self._masked:
            return vector
        mask = Box(0, 1, (max(space.n for space in self._actions),), bool)
        return Dict({"action_mask": mask, "observation": vector})


def _space(space: Any) -> Space:
    """Translate a space, with the peculiarities of this library: dictionaries of spaces, shapes that are numbers."""
    if isinstance(space, Mapping):
        return Dict({str(name): _space(part) for name, part in space.items()})
    if hasattr(space, "num_categories"):
        return MultiDiscrete(np.asarray(space.num_categories))
    if isinstance(getattr(space, "shape", None), int | np.integer):
        return Box(np.asarray(space.low), np.asarray(space.high), (int(space.shape),), space.dtype)
    return from_foreign(space)


def _flattener(space: Space, example: PyTree) -> Callable[[PyTree], Array]:
    """The function that flattens an agent's observation to a vector."""

    def as_it_is(value: PyTree) -> Array:
        return jnp.concatenate([jnp.ravel(x).astype(jnp.float32) for x in jax.tree.leaves(value)])

    write = partial(encode, space)
    try:
        jax.eval_shape(write, example)
    except (KeyError, TypeError, ValueError):  # the space does not fit the observation
        return as_it_is
    return write
