"""A batch of environments, stepped together, and the agent's memory in them.

This is the only place that calls `env.reset` and `env.step`.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from flax import struct

from memorax import lox
from memorax.acting import faults
from memorax.acting.actions import FINAL, environment_actions, no_actions, show_action_masks, with_action_mask
from memorax.acting.bootstrap import bootstrap
from memorax.acting.env_params import BatchParams
from memorax.acting.episode_statistics import EpisodeStatistics
from memorax.core.devices import by_rows
from memorax.core.spaces import ACTION_MASK, flatten_space
from memorax.core.types import Array, Carry, Key, PyTree, Timestep, Transition, vary_alike
from memorax.environments import as_environment

Policy: TypeAlias = Callable[[Key, Carry, Timestep], tuple[Carry, Array, dict[str, Array]]]
"""`(key, carry, x_t) -> (carry, action, aux)`: the one interface between algorithms and environments."""
Value: TypeAlias = Callable[[Carry, Timestep], Any]
"""`(carry, x) -> value`: the value of an observation given the memory of its episode, `[batch]`, or a pytree of
these."""


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
            False where they are unbounded and are clipped to it. Nested as the action space is where parts differ.

    Where the environment's `info` has an `"action_mask"`, it must describe the observation it comes with, after an
    automatic reset that of the new episode; an episode begun by `reset` allows all actions. Anything else in `info` is
    ignored, text included.

    Attributes:
        action_space: The actions that the environment takes.
        policy_space: The same as policies give them, and as timesteps hold them: every array is a vector.
    """

    def __init__(self, env: Any, env_params: PyTree, num_envs: int, *, bounded: bool = False) -> None:
        self._params = BatchParams(env, env_params, num_envs)
        self.env_params = self._params.first
        self.env = as_environment(env, self.env_params)
        self.num_envs = num_envs
        self.action_space = self.env.action_space(self.env_params)
        self.policy_space = flatten_space(self.action_space)
        self.bounded: Any = bounded
        self._first: dict[int, Timestep] = {}
        self.watched = False
        """Whether steps record where NaN or infinity came from (`faults`)."""

    def params_of(self, i: int) -> PyTree:
        """Give the parameters of one environment; from the last one on they begin again."""
        return self._params.of(i)

    def to_env(self, action: PyTree) -> PyTree:
        """Map the policy's actions to actions that the environment accepts."""
        return environment_actions(self.action_space, self.policy_space, action, self.bounded)

    def ends(self, terminated: Array, truncated: Array) -> tuple[Array, Array]:
        """Give the flags that returns end with, from those of the environments: the same."""
        return terminated, truncated

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
        action = no_actions(self.policy_space, num_envs)
        after = jax.eval_shape(self._env_step, key, env_state, action)
        if ACTION_MASK in after[5]:
            allowed = jax.tree.map(lambda mask: jnp.ones(mask.shape, bool), after[5][ACTION_MASK])
            observation = with_action_mask(observation, allowed)
        both = jax.tree.map(_wider, (observation, env_state), after[:2])
        observation, env_state = _cast_like((observation, env_state), both)
        return self.begin(observation, env_state, carry)

    def first_timestep(self, num_envs: int) -> Timestep:
        """Describe what `reset` gives to so many environments, by shapes and dtypes; it is traced once."""
        if num_envs not in self._first:
            reset = jax.eval_shape(lambda key: self.reset(key, (), num_envs).timestep, jax.random.key(0))
            self._first[num_envs] = reset
        return self._first[num_envs]

    def begin(self, observation: PyTree, env_state: PyTree, carry: Carry) -> RolloutState:
        """Put the state before the first step of an episode together.

        Args:
            observation: First observations, `[num_envs, ...]`.
            env_state: State of the environments.
            carry: The agent's initial memory.
        """
        num_envs = jax.tree.leaves(observation)[0].shape[0]
        action = no_actions(self.policy_space, num_envs)
        reward, done = jnp.zeros(num_envs, jnp.float32), jnp.ones(num_envs, bool)
        timestep = Timestep(observation, action, reward, done)
        return RolloutState(timestep, env_state, carry, EpisodeStatistics.start(num_envs))

    def _of_each(self, function: Callable[..., tuple], keys: Key, *args: PyTree) -> tuple:
        """Call `function(key, *args, env_params)` for each environment."""
        leaves, axes = self._params.leaves(keys.shape[0]), self._params.axes

        def of_one(leaves: list[Any], *args: PyTree) -> tuple:
            return function(*args, self._params.from_leaves(leaves))

        def of_all(shared: list[Any], own: list[Any], *args: PyTree) -> tuple:
            first, second = iter(shared), iter(own)
            leaves = [next(first if axis is None else second) for axis in axes]
            return jax.vmap(of_one, in_axes=(axes, *(0 for _ in args)))(leaves, *args)

        shared, own = ([x for x, axis in zip(leaves, axes, strict=True) if axis == wanted] for wanted in (None, 0))
        return by_rows(of_all, shared, own, keys, *args)

    def _env_step(self, key: Key, env_state: PyTree, action: PyTree) -> tuple:
        def step(*args: PyTree) -> tuple:
            *outcome, info = self.env.step(*args)
            return *outcome, {name: info[name] for name in (ACTION_MASK, FINAL) if name in info}

        keys = jax.random.split(key, jax.tree.leaves(action)[0].shape[0])
        return show_action_masks(*self._of_each(step, keys, env_state, self.to_env(action)))

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
        acted = policy(action_key, rollout_state.carry, rollout_state.timestep)
        outcome = self._env_step(env_key, rollout_state.env_state, acted[1])
        return self.record(rollout_state, acted, outcome, value=value, store_carry=store_carry)

    def record(
        self,
        rollout_state: RolloutState,
        acted: tuple[Carry, PyTree, dict[str, Array]],
        outcome: tuple,
        *,
        value: Value | None = None,
        store_carry: bool = False,
    ) -> tuple[RolloutState, Transition]:
        """Put a step together from what was done and what followed.

        Args:
            rollout_state: State of the environments and the memory before the step.
            acted: What the policy returned.
            outcome: The six values of the environments' step.
            value: As in `step`.
            store_carry: As in `step`.

        Returns:
            As `step` does.
        """
        last = rollout_state.timestep
        carry, action, aux = acted
        observation, env_state, reward, terminated, truncated, info = outcome
        observation, env_state = _cast_like((observation, env_state), (last.observation, rollout_state.env_state))
        action = _cast_like(action, last.action)
        reward, terminated, truncated = reward.astype(jnp.float32), terminated.astype(bool), truncated.astype(bool)
        done = terminated | truncated
        if value is not None and FINAL in info:
            final = Timestep(info[FINAL], action, reward, jnp.zeros_like(done))
            final = _cast_like(final, last)
            over, goes_on = self.ends(terminated, truncated)
            aux = aux | {"bootstrap": bootstrap(value, carry, final, goes_on & ~over)}
        episode, record = rollout_state.episode.advance(reward, done)
        if self.watched:
            after = observation, info.get(FINAL)
            record[faults.STEP] = faults.first_fault(last.observation, (action, acted[2]), reward, after)
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
