import copy

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.assertions import assert_equal
from tests.fast_compile import jit

from memorax.core.spaces import Box, Discrete
from memorax.environments import Environment, make
from memorax.environments.memory import TMaze
from memorax.environments.wrappers import AutoReset, RecordEpisodeStatistics, TimeLimit, Wrapper
from memorax.testing import environments as conformance

CHAIN = {"length": 4}


def walk(env, params=None, steps=17):
    """What each step gave under random actions; the same actions and keys for every environment."""

    def act(state, key):
        action = env.action_space(params).sample(key)
        observation, state, *rest, info = env.step(key, state, action, params)
        return state, (observation, *rest, info)

    def run(key):
        observation, state = env.reset(key, params)
        return observation, jax.lax.scan(act, state, jax.random.split(key, steps))[1]

    return jit(run)(jax.random.key(3))


@pytest.fixture(scope="module")
def plain():
    return walk(make("memory::MemoryChain", **CHAIN)[0])


WRAPPED = {
    "Wrapper": Wrapper,
    "RecordEpisodeStatistics": RecordEpisodeStatistics,
    "TimeLimit": lambda env: TimeLimit(env, 50),
    "both": lambda env: RecordEpisodeStatistics(TimeLimit(env, 50)),
}


@pytest.mark.parametrize("wrap", WRAPPED.values(), ids=WRAPPED)
def test_a_wrapper_leaves_the_rest_alone(wrap, plain):
    """Observation, reward, ends and the inner info stay as they are where the wrapper has nothing to say."""
    inner = make("memory::MemoryChain", **CHAIN)[0]
    env = wrap(inner)
    first, (*found, info) = walk(env)
    assert_equal((first, found), (plain[0], list(plain[1][:4])))
    assert_equal(info["final_observation"], plain[1][4]["final_observation"])
    for fact in ("name", "optimal_return", "memoryless_return", "num_bits"):
        assert getattr(env, fact) == getattr(inner, fact)
    for method in ("action_space", "observation_space", "horizon", "memory_length"):
        assert getattr(env, method)() == getattr(inner, method)()
    assert env.default_params == inner.default_params
    assert env.unwrapped is inner
    assert copy.copy(env).num_bits == 1
    with pytest.raises(AttributeError, match="color"):
        _ = env.color


def test_a_wrapper_forwards_every_name_of_an_environment():
    public = {name for name in vars(Environment) if not name.startswith("_")}
    assert public <= set(vars(Wrapper))


@pytest.mark.parametrize("wrap", WRAPPED.values(), ids=WRAPPED)
def test_a_wrapper_keeps_its_types(wrap):
    env = wrap(make("memory::MemoryChain", **CHAIN)[0])
    conformance.check_types(env, env.default_params)


def test_the_raw_transitions_of_a_wrapper_are_the_inner_ones():
    inner = TMaze(3, max_steps=7)
    env, params, key = Wrapper(inner), inner.default_params, jax.random.key(0)
    started = env.reset_env(key, params)
    assert_equal(started, inner.reset_env(key, params))
    stepped = env.step_env(key, started[1], jnp.int32(2), params)
    assert_equal(stepped, inner.step_env(key, started[1], jnp.int32(2), params))
    assert env.is_truncated(stepped[1].replace(time=7), params)


def test_statistics_by_hand(plain):
    _, (_, reward, terminated, truncated, info) = walk(RecordEpisodeStatistics(make("memory::MemoryChain", **CHAIN)[0]))
    total, length, last = 0.0, 0, (0.0, 0)
    for t, done in enumerate(np.asarray(terminated | truncated)):
        total, length = total + float(reward[t]), length + 1
        if done:
            last, total, length = (total, length), 0.0, 0
        assert bool(info["returned_episode"][t]) == done
        assert (info["returned_episode_returns"][t], info["returned_episode_lengths"][t]) == last
    assert info["returned_episode"].sum() == 3
    dtypes = [info[f"returned_episode{name}"].dtype for name in ("_returns", "_lengths", "")]
    assert dtypes == [jnp.float32, jnp.int32, jnp.bool_]


def test_recording_twice_does_no_harm():
    env = RecordEpisodeStatistics(make("memory::MemoryChain", **CHAIN)[0])
    assert_equal(walk(env), walk(RecordEpisodeStatistics(env)))


def test_a_time_limit_cuts():
    """Time 3 cuts every episode of five steps: truncated, never terminated, and the next begins at once."""
    env = TimeLimit(make("memory::MemoryChain", **CHAIN)[0], 3)
    _, (observation, _, terminated, truncated, info) = walk(env)
    assert not terminated.any()
    np.testing.assert_array_equal(np.flatnonzero(truncated), [2, 5, 8, 11, 14])
    np.testing.assert_array_equal(observation[truncated, 0], 1.0)
    np.testing.assert_array_equal(np.abs(observation[truncated, 2]), 1.0)
    np.testing.assert_allclose(info["final_observation"][truncated, 0], 0.5)
    assert env.horizon() == 3


def test_a_time_limit_on_the_last_step_leaves_both_flags():
    env = TimeLimit(make("memory::MemoryChain", **CHAIN)[0], 5)
    _, (_, _, terminated, truncated, _) = walk(env)
    np.testing.assert_array_equal(np.flatnonzero(terminated), [4, 9, 14])
    np.testing.assert_array_equal(terminated, truncated)


def test_a_time_limit_bounds_what_has_no_bound():
    env = TimeLimit(TMaze(3), 9)
    assert env.horizon() == 9
    assert TimeLimit(TMaze(3, max_steps=7), 9).horizon() == 7
    _, (_, _, terminated, truncated, _) = walk(env, steps=40)
    assert (truncated & ~terminated).any()


@pytest.mark.parametrize(
    ("max_steps", "error", "message"),
    [
        (0, ValueError, "`max_steps` must be at least 1, got 0"),
        (2.5, TypeError, "`max_steps` must be an integer, got 2.5"),
        (True, TypeError, "`max_steps` must be an integer, got True"),
    ],
)
def test_a_wrong_time_limit_is_refused(max_steps, error, message):
    with pytest.raises(error, match=message):
        TimeLimit(TMaze(3), max_steps)


class Counter:
    """Knows single episodes only: counts to four, or to the limit in `params`."""

    default_params = 9

    def reset_env(self, key, params):
        return jnp.zeros((1,)), jnp.zeros((), jnp.int32)

    def step_env(self, key, state, action, params):
        state = state + 1
        return jnp.full((1,), 1.0 * state), state, state > 3, state == 4, state >= params, {"twice": 2 * state}

    def action_space(self, params):
        return Discrete(2)

    def observation_space(self, params):
        return Box(0.0, 4.0, (1,))


class Renamed(Counter):
    reset, step = Counter.reset_env, Counter.step_env
    reset_env = property()
    step_env = property()


@pytest.mark.parametrize("raw", [Counter, Renamed])
def test_auto_reset(raw):
    env = AutoReset(raw())
    first, (observation, reward, terminated, truncated, info) = walk(env, steps=9)
    assert first == 0
    np.testing.assert_array_equal(observation[:, 0], [1, 2, 3, 0, 1, 2, 3, 0, 1])
    np.testing.assert_array_equal(info["final_observation"][:, 0], [1, 2, 3, 4, 1, 2, 3, 4, 1])
    np.testing.assert_array_equal(info["twice"][:4], [2, 4, 6, 8])
    np.testing.assert_array_equal(reward[:4], [0, 0, 0, 1])
    np.testing.assert_array_equal(np.flatnonzero(terminated), [3, 7])
    assert not truncated.any()
    conformance.check_types(env, env.default_params)


def test_auto_reset_after_a_truncation():
    _, (observation, _, terminated, truncated, _) = walk(AutoReset(Counter(), 2), steps=5)
    np.testing.assert_array_equal(observation[:, 0], [1, 0, 1, 0, 1])
    np.testing.assert_array_equal(truncated, [False, True, False, True, False])
    assert not terminated.any()
    assert RecordEpisodeStatistics(AutoReset(Counter())).name == "Counter"


def test_auto_reset_names_what_is_missing():
    with pytest.raises(TypeError, match=r"`raw` must have .*, got object without `action_space`, `observation_space`"):
        AutoReset(object())
    with pytest.raises(TypeError, match="got HalfACounter without `reset_env`, `step_env`"):
        AutoReset(type("HalfACounter", (Counter,), {"reset_env": property()})())
    four = type("Four", (Counter,), {"step_env": lambda *_: (0, 0, 0, 0)})
    with pytest.raises(TypeError, match=r"`step` of Four must return .*, got 4 values"):
        AutoReset(four())


def test_what_does_not_speak_the_protocol_cannot_be_wrapped():
    with pytest.raises(TypeError, match=r"`env` must have `reset`, `step`, .*, got int without `reset`, `step`"):
        RecordEpisodeStatistics(3)
