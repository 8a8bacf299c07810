"""The compiled parts of acting and learning in environments that run in Python, each for all seeds at once.

Everything here is a function of the agent and of arrays of one seed, the same that compiled training consists of.
"""

import dataclasses
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from memorax import lox
from memorax.acting import faults
from memorax.acting.actions import FINAL, show_action_masks, with_action_mask
from memorax.acting.vector_env import EpisodeStatistics, RolloutState
from memorax.core.spaces import ACTION_MASK
from memorax.core.types import Array, Key, PyTree, Transition
from memorax.environments.host import HostState


class HostPrograms:
    """Compiles functions `(agent, *arrays)`, mapped over seeds, once each.

    Args:
        agent: The agent.
    """

    def __init__(self, agent: Any) -> None:
        # JAX keeps what it has compiled, and what that refers to, for as long as the function lives.
        self._agent = weakref.ref(agent)
        self._programs: dict[Any, Callable[..., Any]] = {}

    def __call__(
        self, function: Callable[..., Any], *static: Any, shared: Sequence[int] = (), donate: Sequence[int] = ()
    ) -> Callable[..., Any]:
        """Give the program of a function.

        Args:
            function: `function(agent, *static, *arrays)` of one seed.
            *static: Its first arguments, which are compiled into the program.
            shared: Numbers of the arguments that are the same for all seeds.
            donate: Numbers of the arguments whose memory is given up.
        """
        key = (function, *static)
        if key not in self._programs:
            reference = self._agent

            def program(*arrays: PyTree) -> Any:
                axes = [None if i in shared else 0 for i in range(len(arrays))]
                return jax.vmap(lambda *own: function(reference(), *static, *own), in_axes=axes)(*arrays)

            program.__name__ = program.__qualname__ = function.__name__
            self._programs[key] = jax.jit(program, donate_argnums=tuple(donate))
        return self._programs[key]


def split_key(agent: Any, groups: int, key: Key, state: Any) -> tuple[list[Key], Key]:
    """Derive the keys of an update: of acting, for each group of environments, and of learning."""
    del agent
    act_key, learn_key = jax.random.split(state.step.fold_into(key))
    return keys_of_groups(None, groups, act_key), learn_key


def step_key(agent: Any, key: Key, state: Any) -> Key:
    """Derive the key of a state's step."""
    del agent
    return state.step.fold_into(key)


def keys_of_groups(agent: Any, groups: int, key: Key) -> list[Key]:
    """Derive a key for each group of environments; that of compiled training where there is one."""
    del agent
    return [key] if groups == 1 else list(jax.random.split(key, groups))


def session(agent: Any, key: Key) -> Array:
    """Draw the random number that the seeds of the environments follow from, before `init` or `evaluate`."""
    del agent
    return jax.random.bits(jax.random.split(key, 3)[0], (), jnp.uint32)


def init(agent: Any, key: Key, number: Array, started: tuple[PyTree, Array | None]) -> Any:
    """Begin a run."""
    _, carry_key, learner_key = jax.random.split(key, 3)
    return agent.begin(learner_key, _begin(agent, carry_key, number, started))


def begin_evaluation(agent: Any, key: Key, number: Array, started: tuple[PyTree, Array | None]) -> RolloutState:
    """Begin to evaluate."""
    return _begin(agent, jax.random.split(key, 3)[1], number, started)


def evaluation_key(agent: Any, key: Key, round_: Array) -> Key:
    """Derive the key of acting in an evaluation, in one of its rounds: in the first, that of compiled evaluation."""
    del agent
    key = jax.random.split(key, 3)[2]
    return jnp.where(round_ == 0, key, jax.random.fold_in(key, round_))


def begin_again(agent: Any, state: Any, number: Array, started: tuple[PyTree, Array | None]) -> Any:
    """Go on with a run in new episodes: what was learned and counted stays."""
    state = agent.interrupted(state)
    fresh = _begin(agent, jax.random.key(0), number, started)
    before: EpisodeStatistics = state.loop.episode
    episode = dataclasses.replace(fresh.episode, last_return=before.last_return, last_length=before.last_length)
    loop = dataclasses.replace(state.loop, timestep=fresh.timestep, env_state=fresh.env_state, episode=episode)
    scales = state.scales
    if scales is not None and scales.running_return is not None:
        scales = dataclasses.replace(scales, running_return=jnp.zeros_like(scales.running_return))
    return dataclasses.replace(state, loop=loop, scales=scales)


def _begin(agent: Any, key: Key, number: Array, started: tuple[PyTree, Array | None]) -> RolloutState:
    observation, mask = started
    if mask is not None:
        observation = with_action_mask(observation, mask)
    rows = jax.tree.leaves(observation)[0].shape[0]
    place = HostState(jnp.full(rows, number, jnp.uint32), jnp.zeros(rows, jnp.uint32))
    return agent.vector_env.begin(observation, place, agent.initialize_carry(key, rows))


def split_rows(agent: Any, groups: int, loop: RolloutState) -> list[RolloutState]:
    """Split the environments into groups."""
    del agent
    return [jax.tree.map(lambda x, i=i: jnp.split(x, groups)[i], loop) for i in range(groups)]


def blank(agent: Any, behavior: Any, num_steps: int, state: Any, key: Key, loop: RolloutState) -> Transition:
    """Make room for the transitions of a rollout, `[num_steps, rows, ...]`."""

    def one(key: Key, loop: RolloutState) -> Transition:
        policy, value = agent.acting(state, behavior)
        return agent.vector_env.step(key, loop, policy, value=value, store_carry=agent.store_carry)[1]

    return jax.tree.map(lambda x: jnp.zeros((num_steps, *x.shape), x.dtype), jax.eval_shape(one, key, loop))


def choose(agent: Any, behavior: Any, state: Any, key: Key, loop: RolloutState, t: Array) -> tuple[tuple, PyTree]:
    """Choose actions; the second value is what the environments take."""
    policy, _ = agent.acting(state, behavior)
    action_key, _ = jax.random.split(jax.random.fold_in(key, t))
    acted = policy(action_key, loop.carry, loop.timestep)
    return acted, agent.vector_env.to_env(acted[1])


def follow(agent: Any, state: Any, loop: RolloutState, acted: tuple, outcome: tuple) -> tuple[RolloutState, Transition]:
    """Put a step together from what was done and what the environments returned, a `HostStep`'s values in order."""
    observation, reward, terminated, truncated, final, mask = outcome
    place = dataclasses.replace(loop.env_state, time=loop.env_state.time + 1)
    info = {FINAL: final} | ({} if mask is None else {ACTION_MASK: mask})
    six = show_action_masks(observation, place, reward, terminated, truncated, info)
    _, value = agent.acting(state, "explore")
    return agent.vector_env.record(loop, acted, six, value=value, store_carry=agent.store_carry)


def follow_and_keep(
    agent: Any, state: Any, loop: RolloutState, acted: tuple, outcome: tuple, kept: Transition, t: Array
) -> tuple[RolloutState, Transition]:
    """Put a step together, and keep its transition as the t-th of a rollout."""
    after, transition = follow(agent, state, loop, acted, outcome)
    return after, jax.tree.map(lambda x, new: jax.lax.dynamic_update_index_in_dim(x, new, t, 0), kept, transition)


def follow_and_watch(
    agent: Any, state: Any, loop: RolloutState, acted: tuple, outcome: tuple
) -> tuple[RolloutState, dict[str, Array]]:
    """Put a step together, of which only the statistics are of interest."""
    after, transition = follow(agent, state, loop, acted, outcome)
    return after, transition.info


def learn(
    agent: Any, key: Key, learned: Any, before: RolloutState, loops: list[RolloutState], kept: list[Transition]
) -> tuple[Any, dict[str, Array]]:
    """Learn from a rollout; the second value is what is logged, `[time, ...]`.

    The state is given in two parts: only what is `learned` may give up its memory.
    """
    trajectory, state = join(agent, kept), dataclasses.replace(learned, loop=before)
    state, logs = lox.spool(agent.bound(state).learn_from)(key, state, _join_rows(loops), trajectory)
    if agent.schedules:
        logs |= {f"schedules/{name}": value[None] for name, value in agent.scheduled(learned).items()}
    if agent.vector_env.watched:
        logs[faults.LEARNER] = ~faults.finite(state.learner)[None]
    return state, lox.Logs(_statistics(trajectory) | logs, logs.present)


def store(agent: Any, learned: Any, before: RolloutState, loops: list[RolloutState], kept: list[Transition]) -> Any:
    """Put a rollout into the replay buffer; arguments as `learn` has them."""
    state = dataclasses.replace(learned, loop=before)
    return agent.bound(state).store(state, _join_rows(loops), join(agent, kept))


def go_on(agent: Any, state: Any, loops: list[RolloutState], kept: list[Transition]) -> Any:
    """Count a rollout that nothing is learned from."""
    step = state.step + sum(one.reward.shape[0] * one.reward.shape[1] for one in kept)
    return dataclasses.replace(state, step=step, loop=_join_rows(loops))


def join(agent: Any, kept: list[Transition]) -> Transition:
    """Join the transitions of all groups, `[num_envs, time, ...]`."""
    del agent
    return jax.tree.map(lambda *parts: jnp.swapaxes(jnp.concatenate(parts, axis=1), 0, 1), *kept)


def _join_rows(loops: list[RolloutState]) -> RolloutState:
    return jax.tree.map(lambda *parts: jnp.concatenate(parts), *loops)


def _statistics(trajectory: Transition) -> dict[str, Array]:
    return {name: jnp.swapaxes(x, 0, 1) for name, x in trajectory.info.items()}
