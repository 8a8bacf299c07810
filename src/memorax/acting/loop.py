"""The interaction loop: the environments, and the agent's memory in them.

This is the only place that calls `env.reset` and `env.step`.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from flax import struct
from jax.custom_batching import custom_vmap

from memorax import lox
from memorax.core.spaces import Box
from memorax.core.types import Array, Carry, Key, PyTree, Timestep, Transition
from memorax.environments import as_environment

Policy: TypeAlias = Callable[[Key, Carry, Timestep], tuple[Carry, Array, dict[str, Array]]]
"""`(key, carry, x_t) -> (carry, action, aux)`: the one interface between algorithms and the loop."""
Value: TypeAlias = Callable[[Carry, Timestep], Any]
"""`(carry, x) -> value`, `[batch]`, or several of these: what an observation is worth after what the carry
remembers."""


@struct.dataclass
class Episode:
    """Return and length of the running and of the last finished episode, each `[batch]`."""

    running_return: Array
    running_length: Array
    last_return: Array
    last_length: Array

    @classmethod
    def start(cls, batch: int) -> "Episode":
        """Begin to count in `batch` environments."""
        zero, none = jnp.zeros(batch, jnp.float32), jnp.zeros(batch, jnp.int32)
        return cls(zero, none, zero, none)

    def advance(self, reward: Array, done: Array) -> tuple["Episode", dict[str, Array]]:
        """Count one step; return the new counts and what to log about it."""
        total, length = self.running_return + reward, self.running_length + 1
        last_return = jnp.where(done, total, self.last_return)
        last_length = jnp.where(done, length, self.last_length)
        info = {
            "returned_episode": done,
            "returned_episode_returns": last_return,
            "returned_episode_lengths": last_length,
        }
        return Episode(jnp.where(done, 0.0, total), jnp.where(done, 0, length), last_return, last_length), info


@struct.dataclass
class Loop:
    """Where the environments stand, and the memory in them; every leaf leads with the batch of environments."""

    timestep: Timestep
    env_state: PyTree
    carry: Carry
    episode: Episode


def cast_like(tree: PyTree, like: PyTree) -> PyTree:
    """Give every leaf of `tree` the dtype of its twin in `like`, without weak types.

    Environments are free to begin with a Python number where later there is an array; a state that changes its type
    after the first step would be compiled for twice.
    """

    def cast(x: Any, twin: Any) -> Array:
        x = jnp.asarray(x)
        if jnp.issubdtype(twin.dtype, jax.dtypes.extended):
            return x
        return jax.lax.convert_element_type(x, twin.dtype)

    return jax.tree.map(cast, tree, like)


def wider(x: Any, y: Any) -> Any:
    """Describe an array of the shape of `x` whose dtype holds the values of both."""
    return x if x.dtype == y.dtype else jax.ShapeDtypeStruct(x.shape, jnp.promote_types(x.dtype, y.dtype))


def with_mask(observation: PyTree, mask: Array) -> dict[str, Any]:
    """Put a mask of allowed actions into an observation, where networks look for it."""
    parts = dict(observation) if isinstance(observation, Mapping) else {"observation": observation}
    return {"action_mask": mask} | parts


class Stage:
    """A number of equal environments that are stepped together.

    Args:
        env: Any object that speaks the environment protocol, a raw gymnax environment included.
        env_params: Its parameters; None for its default ones.
        num_envs: How many run side by side.
        bounded: True where the policy's continuous actions live in `[-1, 1]` and must be stretched over the action
            space; False where they may be any number and are clipped to it.

    Where the environment's `info` has an `"action_mask"`, it must describe the observation it comes with, after an
    automatic reset that of the new episode; an episode begun by `reset` allows all actions.
    """

    def __init__(self, env: Any, env_params: PyTree, num_envs: int, *, bounded: bool = False) -> None:
        self.env_params = env.default_params if env_params is None and hasattr(env, "default_params") else env_params
        self.env = as_environment(env, self.env_params)
        self.num_envs = num_envs
        self.action_space = self.env.action_space(self.env_params)
        self.bounded = bounded

    def to_env(self, action: Array) -> Array:
        """Turn the policy's actions into ones the environment accepts."""
        space = self.action_space
        if not isinstance(space, Box):
            return action
        low, high = (jnp.broadcast_to(end, action.shape) for end in (space.low, space.high))
        if self.bounded:
            action = low + 0.5 * (action + 1.0) * (high - low)
        return jnp.clip(action, low, high).astype(space.dtype)

    def reset(self, key: Key, carry: Carry, num_envs: int | None = None) -> Loop:
        """Start an episode in every environment.

        Args:
            key: Random key.
            carry: The memory to begin with, `[num_envs, ...]`.
            num_envs: How many environments, if not the usual number.
        """
        num_envs = self.num_envs if num_envs is None else num_envs
        reset_keys = jax.random.split(key, num_envs)
        observation, env_state = jax.vmap(self.env.reset, in_axes=(0, None))(reset_keys, self.env_params)
        space = self.action_space
        action = jnp.zeros((num_envs, *space.shape), jnp.float32 if isinstance(space, Box) else space.dtype)
        after = jax.eval_shape(self._env_step, key, env_state, action)
        if "action_mask" in after[5]:
            observation = with_mask(observation, jnp.ones(after[5]["action_mask"].shape, bool))
        both = jax.tree.map(
            wider,
            (observation, env_state),
            after[:2],
        )
        observation, env_state = cast_like((observation, env_state), both)
        reward, done = jnp.zeros(num_envs, jnp.float32), jnp.ones(num_envs, bool)
        return Loop(Timestep(observation, action, reward, done), env_state, carry, Episode.start(num_envs))

    def _env_step(self, key: Key, env_state: PyTree, action: Array) -> tuple:
        keys = jax.random.split(key, action.shape[0])
        step = jax.vmap(self.env.step, in_axes=(0, 0, 0, None))
        observation, env_state, *outcome, info = step(keys, env_state, self.to_env(action), self.env_params)
        if "action_mask" in info:
            mask = info["action_mask"].astype(bool)
            observation = with_mask(observation, mask)
            if "final_observation" in info:
                # The final observation is only valued: which actions it allowed does not matter.
                info = info | {"final_observation": with_mask(info["final_observation"], jnp.ones_like(mask))}
        return observation, env_state, *outcome, info

    def step(
        self, key: Key, loop: Loop, policy: Policy, *, value: Value | None = None, store_carry: bool = False
    ) -> tuple[Loop, Transition]:
        """Act once in every environment.

        Args:
            key: Random key.
            loop: Where the environments stand.
            policy: What decides.
            value: Where given, a truncated episode's final observation is valued with the memory of that very
                episode, and the result recorded as `aux["bootstrap"]`.
            store_carry: Whether to record the memory before the step.

        Returns:
            The loop after the step, and the step, `[num_envs, ...]`.
        """
        action_key, env_key = jax.random.split(key)
        carry, action, aux = policy(action_key, loop.carry, loop.timestep)
        observation, env_state, reward, terminated, truncated, info = self._env_step(env_key, loop.env_state, action)
        observation, env_state = cast_like((observation, env_state), (loop.timestep.observation, loop.env_state))
        action = cast_like(action, loop.timestep.action)
        reward, terminated, truncated = reward.astype(jnp.float32), terminated.astype(bool), truncated.astype(bool)
        done = terminated | truncated
        if value is not None and "final_observation" in info:
            final = Timestep(info["final_observation"], action, reward, jnp.zeros_like(done))
            final = cast_like(final, loop.timestep)
            aux = aux | {"bootstrap": bootstrap(value, carry, final, truncated & ~terminated)}
        episode, record = loop.episode.advance(reward, done)
        transition = Transition(
            inputs=loop.timestep,
            action=action,
            reward=reward,
            terminated=terminated,
            truncated=truncated,
            carry=loop.carry if store_carry else None,
            aux=aux,
            info=record,
        )
        return Loop(Timestep(observation, action, reward, done), env_state, carry, episode), transition

    def rollout(
        self,
        key: Key,
        loop: Loop,
        policy: Policy,
        num_steps: int,
        *,
        value: Value | None = None,
        store_carry: bool = False,
    ) -> tuple[Loop, Transition]:
        """Act `num_steps` times in every environment, and log the statistics of the episodes.

        Args:
            key: Random key; step t uses `fold_in(key, t)`.
            loop: Where the environments stand.
            policy: What decides.
            num_steps: Steps of each environment.
            value: As in `step`.
            store_carry: As in `step`.

        Returns:
            The loop after the last step, and the steps, `[num_envs, num_steps, ...]`.
        """

        def body(loop: Loop, t: Array) -> tuple[Loop, Transition]:
            step_key = jax.random.fold_in(key, t)
            loop, transition = self.step(step_key, loop, policy, value=value, store_carry=store_carry)
            lox.log(transition.info)
            return loop, transition

        loop, trajectory = jax.lax.scan(body, loop, jnp.arange(num_steps, dtype=jnp.uint32))
        return loop, jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), trajectory)


@custom_vmap
def anywhere(flags: Array) -> Array:
    """Whether any flag is up, in any of the seeds it is mapped over: so a `cond` on it stays one."""
    return jnp.any(flags)


@anywhere.def_vmap
def _(axis_size: int, in_batched: list[bool], flags: Array) -> tuple[Array, bool]:
    del axis_size, in_batched
    return anywhere(jnp.any(flags, axis=0)), False


def bootstrap(value: Value, carry: Carry, final: Timestep, truncated: Array) -> Any:
    """Value the final observations of truncated episodes; zero elsewhere, and at no cost where there is none.

    Args:
        value: Values a timestep.
        carry: The memory of the episode that was cut, `[batch, ...]`.
        final: What was last seen of it, `[batch, ...]`.
        truncated: `[batch]`.

    Returns:
        `[batch]`, as many as `value` gives.
    """

    def worth() -> Any:
        return jax.tree.map(lambda x: jnp.where(truncated, x, 0.0), value(carry, final))

    def nothing() -> Any:
        return jax.tree.map(jnp.zeros_like, jax.eval_shape(worth))

    return jax.lax.cond(anywhere(truncated), worth, nothing)
