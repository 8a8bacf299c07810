"""What only the critic sees: read from the state of an environment in JAX, or from `info` of one of Gymnasium."""

from functools import partial

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.environments.host.toys import GOAL, LIMIT, JaxWalk, Walk

from memorax.core.spaces import Box
from memorax.environments import as_host, make
from memorax.environments.wrappers import CriticState, ResetPool, TimeLimit
from memorax.testing import check_environment


def place(state):
    return jnp.stack([10.0 * state.position, state.time])


def walk(env, steps=40):
    """Observations, observations before resets, and ends of a random walk in eight environments."""

    def act(state, key):
        keys = jax.random.split(key, 8)
        actions = jax.random.bernoulli(key, 0.7, (8,)).astype(jnp.int32)
        observation, state, _, terminated, truncated, info = jax.vmap(env.step)(keys, state, actions)
        return state, (observation, info["final_observation"], terminated, truncated)

    def run():
        first, state = jax.vmap(env.reset)(jax.random.split(jax.random.key(0), 8))
        return first, jax.lax.scan(act, state, jax.random.split(jax.random.key(1), steps))[1]

    return jax.jit(run)()


@pytest.mark.parametrize("pool", [None, 2])
def test_the_entry_belongs_to_its_observation(pool):
    """Also the last one of an episode: the observation shows position and time, the entry the same on another scale."""
    env = CriticState(JaxWalk(), place)
    first, (seen, final, terminated, truncated) = walk(env if pool is None else ResetPool(env, pool))
    assert terminated.any()
    assert truncated.any()
    for shown in (first, seen, final):
        np.testing.assert_array_equal(shown["state"], shown["observation"] * jnp.array([10.0, 1.0]))
    ended = terminated | truncated
    assert (np.asarray(seen["state"])[ended] == 0).all()
    last = np.asarray(final["state"])[ended]
    assert ((last[:, 0] == 10 * GOAL) | (last[:, 1] == LIMIT)).all()
    assert env.observation_space()["state"] == Box(-np.inf, np.inf, (2,))
    check_environment(env)


def test_what_does_not_fit_is_refused():
    with pytest.raises(TypeError, match="must have a `step` that does nothing but reset, got TimeLimit"):
        CriticState(TimeLimit(JaxWalk(), 3), place)
    with pytest.raises(TypeError, match="`read` must be"):
        CriticState(JaxWalk(), "state")
    with pytest.raises(ValueError, match="`entry` must be a name that the observation does not have, got 'state'"):
        CriticState(CriticState(JaxWalk(), place), place)


class Told(Walk):
    """A walk that tells in `info` where it is."""

    def reset(self, *, seed=None, options=None):
        return super().reset(seed=seed)[0], self._told()

    def step(self, action):
        return *super().step(action)[:4], self._told()

    def _told(self):
        return {"state": [10 * self.position, self.time], "note": "here"}


gymnasium.register("Told-v0", Told)


@pytest.mark.parametrize("processes", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_an_entry_of_info_is_shown(processes):
    env = as_host(partial(Told), critic_state="state", processes=processes)
    assert env.observation_space()["state"] == Box(-np.inf, np.inf, (2,))
    batch = env.source.batch(3)
    seen, _ = batch.reset([1, 2, 3])
    shown, ends = [seen], 0
    for t in range(30):
        step = batch.step(np.array([1, t % 2, 0]))
        ends += int((step.terminated | step.truncated).sum())
        shown += [step.observation, step.final_observation]
    batch.close()
    assert ends > 5
    for one in shown:
        np.testing.assert_array_equal(one["state"], one["observation"] * np.array([10.0, 1.0], np.float32))


def test_make_takes_the_option():
    env, _ = make("gymnasium::Told-v0", critic_state="state")
    assert sorted(env.observation_space().spaces) == ["observation", "state"]
    check_environment(env, steps=30)


def test_an_entry_that_is_not_there_is_named():
    with pytest.raises(ValueError, match=r"`critic_state` must name an entry .* of Told return, got 'sate'; there are"):
        as_host(partial(Told), critic_state="sate")
    vector = partial(gymnasium.make_vec, "CartPole-v1", 2, vectorization_mode="sync")
    with pytest.raises(ValueError, match="`critic_state` must be None for a vector environment, got 'state'"):
        as_host(vector, critic_state="state")
