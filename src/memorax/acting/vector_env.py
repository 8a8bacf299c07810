"""A batch of environments, stepped together, and the agent's memory in them.

This is the only place that calls `env.reset` and `env.step`.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from flax import struct
from jax.custom_batching import custom_vmap

from memorax import lox
from memorax.acting.env_params import BatchParams
from memorax.core.spaces import Box
from memorax.core.types import Array, Carry, Key, PyTree, Timestep, Transition, vary_alike
from memorax.environments import as_environment

Policy: TypeAlias = Callable[[Key, Carry, Timestep], tuple[Carry, Array, dict[str, Array]]]
"""`(key, carry, x_t) -> (carry, action, aux)`: the one interface between algorithms and environments."""
Value: TypeAlias = Callable[[Carry, Timestep], Any]
"""`(carry, x) -> value`: the value of an observation given the memory of its episode, `[batch]`, or a pytree of
these."""


@struct.dataclass
class EpisodeStatistics:
    """Return and length of the running episode and of the last finished one, each `[batch]`.

    Attributes:
        running_return: Sum of the rewards of the running episode so far, without discount, float32.
        running_length: Its steps so far, int32.
        last_return: Undiscounted return of the last finished episode, 0 before the first, float32.
        last_length: Its steps, int32.
    """

    running_return: Array
    running_length: Array
    last_return: Array
    last_length: Array

    @classmethod
    def start(cls, batch: int) -> "EpisodeStatistics":
        """Start counting in `batch` environments."""
        zero, none = jnp.zeros(batch, jnp.float32), jnp.zeros(batch, jnp.int32)
        return cls(zero, none, zero, none)

    def advance(self, reward: Array, done: Array) -> tuple["EpisodeStatistics", dict[str, Array]]:
        """Count one step; return the new statistics and what to log about the step."""
        total, length = self.running_return + reward, self.running_length + 1
        last_return = jnp.where(done, total, self.last_return)
        last_length = jnp.where(done, length, self.last_length)
        info = {
            "returned_episode": done,
            "returned_episode_returns": last_return,
            "returned_episode_lengths": last_length,
        }
        running_return, running_length = jnp.where(done, 0.0, total), jnp.where(done, 0, length)
        return EpisodeStatistics(running_return, running_length, last_return, last_length), info


@struct.dataclass
class RolloutState:
    """The state of a batch of environments and of the agent's memory in them; every leaf is `[num_envs, ...]`.

    Attributes:
        timestep: What the agent sees next, `x_t`.
        env_state: State of the environments.
        carry: The agent's memory before `x_t`.
        episode: Statistics of the episodes.
    """

    timestep: Timestep
    env_state: PyTree
    carry: Carry
    episode: EpisodeStatistics


class VectorEnv:
    """A batch of copies of one environment, stepped together, with automatic reset.

    Args:
        env: Any object that implements the environment protocol, a raw gymnax environment included.
        env_params: Its parameters; None for its default ones. A parameter with an axis of `num_envs` in front of the
            shape that it has in `env.default_params` has a value for each environment.
        num_envs: Number of environments.
        bounded: True where the policy's continuous actions are in `[-1, 1]` and must be rescaled to the action space;
            False where they are unbounded and are clipped to it.

    Where the environment's `info` has an `"action_mask"`, it must describe the observation it comes with, after an
    automatic reset that of the new episode; an episode begun by `reset` allows all actions.
    """

    def __init__(self, env: Any, env_params: PyTree, num_envs: int, *, bounded: bool = False) -> None:
        self._params = BatchParams(env, env_params, num_envs)
        self.env_params = self._params.first
        self.env = as_environment(env, self.env_params)
        self.num_envs = num_envs
        self.action_space = self.env.action_space(self.env_params)
        self.bounded = bounded

    def to_env(self, action: Array) -> Array:
        """Map the policy's actions to actions that the environment accepts."""
        space = self.action_space
        if not isinstance(space, Box):
            return action.astype(space.dtype)
        low, high = (jnp.broadcast_to(end, action.shape) for end in (space.low, space.high))
        if self.bounded:
            action = low + 0.5 * (action + 1.0) * (high - low)
        return jnp.clip(action, low, high).astype(space.dtype)

    def reset(self, key: Key, carry: Carry, num_envs: int | None = None) -> RolloutState:
        """Start an episode in every environment.

        Args:
            key: Random key.
            carry: The agent's initial memory, `[num_envs, ...]`.
            num_envs: Number of environments, if not the usual one.
        """
        num_envs = self.num_envs if num_envs is None else num_envs
        reset_keys = jax.random.split(key, num_envs)
        observation, env_state = self._of_each(self.env.reset, reset_keys)
        space = self.action_space
        action = jnp.zeros((num_envs, *space.shape), jnp.float32 if isinstance(space, Box) else space.dtype)
        after = jax.eval_shape(self._env_step, key, env_state, action)
        if "action_mask" in after[5]:
            observation = _with_mask(observation, jnp.ones(after[5]["action_mask"].shape, bool))
        both = jax.tree.map(_wider, (observation, env_state), after[:2])
        observation, env_state = _cast_like((observation, env_state), both)
        reward, done = jnp.zeros(num_envs, jnp.float32), jnp.ones(num_envs, bool)
        timestep = Timestep(observation, action, reward, done)
        return RolloutState(timestep, env_state, carry, EpisodeStatistics.start(num_envs))

    def _of_each(self, function: Callable[..., tuple], keys: Key, *args: PyTree) -> tuple:
        """Call `function(key, *args, env_params)` for each environment."""

        def of_one(leaves: list[Any], *args: PyTree) -> tuple:
            return function(*args, self._params.from_leaves(leaves))

        axes = (self._params.axes, *(0 for _ in (keys, *args)))
        return jax.vmap(of_one, in_axes=axes)(self._params.leaves(keys.shape[0]), keys, *args)

    def _env_step(self, key: Key, env_state: PyTree, action: Array) -> tuple:
        keys = jax.random.split(key, action.shape[0])
        observation, env_state, *outcome, info = self._of_each(self.env.step, keys, env_state, self.to_env(action))
        if "action_mask" in info:
            mask = info["action_mask"].astype(bool)
            observation = _with_mask(observation, mask)
            if "final_observation" in info:
                # The final observation is only valued: which actions it allowed does not matter.
                info = info | {"final_observation": _with_mask(info["final_observation"], jnp.ones_like(mask))}
        return observation, env_state, *outcome, info

    def step(
        self,
        key: Key,
        rollout_state: RolloutState,
        policy: Policy,
        *,
        value: Value | None = None,
        store_carry: bool = False,
    ) -> tuple[RolloutState, Transition]:
        """Act once in every environment.

        Args:
            key: Random key.
            rollout_state: State of the environments and the memory.
            policy: Chooses the actions.
            value: Where given, the final observation of a truncated episode is valued with the memory of that very
                episode, and the value recorded as `aux["bootstrap"]`.
            store_carry: Whether to record the memory before the step.

        Returns:
            The state after the step, and the transition, `[num_envs, ...]`.
        """
        action_key, env_key = jax.random.split(key)
        last = rollout_state.timestep
        carry, action, aux = policy(action_key, rollout_state.carry, last)
        observation, env_state, reward, terminated, truncated, info = self._env_step(
            env_key, rollout_state.env_state, action
        )
        observation, env_state = _cast_like((observation, env_state), (last.observation, rollout_state.env_state))
        action = _cast_like(action, last.action)
        reward, terminated, truncated = reward.astype(jnp.float32), terminated.astype(bool), truncated.astype(bool)
        done = terminated | truncated
        if value is not None and "final_observation" in info:
            final = Timestep(info["final_observation"], action, reward, jnp.zeros_like(done))
            final = _cast_like(final, last)
            aux = aux | {"bootstrap": bootstrap(value, carry, final, truncated & ~terminated)}
        episode, record = rollout_state.episode.advance(reward, done)
        transition = Transition(
            inputs=last,
            action=action,
            reward=reward,
            terminated=terminated,
            truncated=truncated,
            carry=rollout_state.carry if store_carry else None,
            aux=aux,
            info=record,
        )
        # The last step of an episode is followed by the first of the next: `is_last` becomes `is_first`.
        following = Timestep(observation, action, reward, done)
        return vary_alike(RolloutState(following, env_state, carry, episode), rollout_state), transition

    def rollout(
        self,
        key: Key,
        rollout_state: RolloutState,
        policy: Policy,
        num_steps: int,
        *,
        value: Value | None = None,
        store_carry: bool = False,
    ) -> tuple[RolloutState, Transition]:
        """Act `num_steps` times in every environment, and log the statistics of the episodes.

        Args:
            key: Random key; step t uses `fold_in(key, t)`.
            rollout_state: State of the environments and the memory.
            policy: Chooses the actions.
            num_steps: Steps of each environment.
            value: As in `step`.
            store_carry: As in `step`.

        Returns:
            The state after the last step, and the transitions, `[num_envs, num_steps, ...]`.
        """

        def body(rollout_state: RolloutState, t: Array) -> tuple[RolloutState, Transition]:
            step_key = jax.random.fold_in(key, t)
            after, transition = self.step(step_key, rollout_state, policy, value=value, store_carry=store_carry)
            lox.log(transition.info)
            return after, transition

        begin, times = vary_alike(rollout_state, key), jnp.arange(num_steps, dtype=jnp.uint32)
        after, trajectory = jax.lax.scan(body, begin, times)
        return after, jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), trajectory)


@custom_vmap
def _any_of_all_seeds(flags: Array) -> Array:
    """Whether any flag is set, in any of the seeds it is mapped over: so a `cond` on it stays a `cond`."""
    return jnp.any(flags)


@_any_of_all_seeds.def_vmap
def _(axis_size: int, in_batched: list[bool], flags: Array) -> tuple[Array, bool]:
    del axis_size, in_batched
    return _any_of_all_seeds(jnp.any(flags, axis=0)), False


def bootstrap(value: Value, carry: Carry, final: Timestep, truncated: Array) -> Any:
    """Value the final observations of truncated episodes; zero elsewhere, and at no cost where none was truncated.

    Args:
        value: Values a timestep.
        carry: The memory of the truncated episode, `[batch, ...]`.
        final: Its final timestep, `[batch, ...]`.
        truncated: `[batch]`.

    Returns:
        `[batch]`, or a pytree of these, as `value` gives.
    """

    def final_value() -> Any:
        return jax.tree.map(lambda x: jnp.where(truncated, x, 0.0), value(carry, final))

    def zero() -> Any:
        return jax.tree.map(jnp.zeros_like, jax.eval_shape(final_value))

    return jax.lax.cond(_any_of_all_seeds(truncated), final_value, zero)


def _cast_like(tree: PyTree, like: PyTree) -> PyTree:
    """Give every leaf of `tree` the dtype of its counterpart in `like`, without weak types.

    Environments are free to begin with a Python number where later there is an array; a state that changes its type
    after the first step would be compiled for twice.
    """

    def cast(x: Any, other: Any) -> Array:
        x = jnp.asarray(x)
        if jnp.issubdtype(other.dtype, jax.dtypes.extended):
            return x
        return jax.lax.convert_element_type(x, other.dtype)

    return jax.tree.map(cast, tree, like)


def _wider(x: Any, y: Any) -> Any:
    """Describe an array of the shape of `x` whose dtype holds the values of both."""
    return x if x.dtype == y.dtype else jax.ShapeDtypeStruct(x.shape, jnp.promote_types(x.dtype, y.dtype))


def _with_mask(observation: PyTree, mask: Array) -> dict[str, Any]:
    """Put a mask of allowed actions into an observation, where networks look for it."""
    parts = dict(observation) if isinstance(observation, Mapping) else {"observation": observation}
    return {"action_mask": mask} | parts
