"""Environments of other libraries: stand-ins for the older five-value form, and gymnax itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct
from tests.assertions import assert_equal
from tests.environments.adapters.by_hand import Library, compare

from memorax.core.spaces import Box, Discrete
from memorax.environments import Environment, as_environment, make
from memorax.environments.memory import TMaze
from memorax.environments.wrappers import RecordEpisodeStatistics
from memorax.testing import environments as conformance

SLOW = pytest.mark.slow


@struct.dataclass
class Params:
    max_steps_in_episode: int = 4


@struct.dataclass
class State:
    time: int


class Older:
    """Five values: the observation is the time; the rules end it at 6, the time limit at `max_steps_in_episode`."""

    name = "Older-v0"
    default_params = Params()
    tally = 7

    def reset_env(self, key, params):
        return jnp.zeros(()), State(time=0)

    def step_env(self, key, state, action, params):
        state = State(time=state.time + 1)
        done = (state.time >= params.max_steps_in_episode) | (state.time == 6)
        return jnp.asarray(state.time, jnp.float32), state, 2, done, {"even": state.time % 2 == 0}

    def reset(self, key, params):
        return self.reset_env(key, params)

    def step(self, key, state, action, params):
        observation, stepped, reward, done, info = self.step_env(key, state, action, params)
        state = State(time=jnp.where(done, 0, stepped.time))
        return jnp.where(done, 0.0, observation), state, reward, done, info

    def action_space(self, params):
        return type("Discrete", (), {"n": 3})()

    def observation_space(self, params):
        return type("Box", (), {"low": jnp.zeros(()), "high": 9.0, "shape": (), "dtype": np.float64})()


class Forwarding:
    """A wrapper of the older kind: its own `step`, every other name from inside."""

    def __init__(self, env):
        self._env = env

    def __getattr__(self, name):
        return getattr(self._env, name)

    def step(self, key, state, action, params):
        observation, state, reward, done, info = self._env.step(key, state, action, params)
        return 10 * observation, state, reward, done, info


class Telling(Older):
    def step_env(self, key, state, action, params):
        *rest, info = super().step_env(key, state, action, params)
        return *rest, info | {"terminated": rest[3], "truncated": jnp.zeros((), bool)}


def steps(env, params, number):
    def act(state, key):
        observation, state, *rest, info = env.step(key, state, jnp.int32(0), params)
        return state, (observation, *rest, info)

    return jax.lax.scan(act, env.reset(jax.random.key(0), params)[1], jax.random.split(jax.random.key(0), number))[1]


def test_five_values_become_six():
    env = as_environment(Older(), Params())
    observation, reward, terminated, truncated, info = steps(env, Params(), 5)
    np.testing.assert_array_equal(observation, [1, 2, 3, 0, 1])
    np.testing.assert_array_equal(info["final_observation"], [1, 2, 3, 4, 1])
    np.testing.assert_array_equal(info["even"], [False, True, False, True, False])
    np.testing.assert_array_equal(truncated, [False, False, False, True, False])
    assert not terminated.any()
    np.testing.assert_array_equal(reward, np.float32(2))
    assert env.name == "Older-v0"
    assert env.tally == 7
    assert env.action_space() == Discrete(3)
    assert env.observation_space() == Box(0.0, 9.0, ())


def test_an_end_before_the_time_limit_is_a_termination():
    params = Params(max_steps_in_episode=9)
    *_, terminated, truncated, _ = steps(as_environment(Older(), params), params, 7)
    np.testing.assert_array_equal(np.flatnonzero(terminated), [5])
    assert not truncated.any()


def test_the_environment_itself_may_tell_the_ends_apart():
    *_, terminated, truncated, _ = steps(as_environment(Telling()), Params(), 5)
    np.testing.assert_array_equal(np.flatnonzero(terminated), [3])
    assert not truncated.any()


def test_without_raw_steps_every_end_is_a_termination():
    """A forwarded `step_env` is not taken: it would lead past what the wrapper does."""
    with pytest.warns(UserWarning, match="Older-v0 has a parameter `max_steps_in_episode` .* no `step_env` shows"):
        env = as_environment(Forwarding(Older()))
    observation, _, terminated, truncated, info = steps(env, Params(), 5)
    np.testing.assert_array_equal(observation, [10, 20, 30, 0, 10])
    np.testing.assert_array_equal(np.flatnonzero(terminated), [3])
    assert not truncated.any()
    np.testing.assert_array_equal(info["final_observation"], observation)


@pytest.mark.filterwarnings("ignore:environment Older-v0 has a parameter")
@pytest.mark.parametrize("older", [Older(), Telling(), Forwarding(Older())])
def test_adapted_environments_keep_their_types(older):
    env = as_environment(older)
    conformance.check_types(env, Params())


def test_it_is_idempotent():
    env = as_environment(Older())
    ours = TMaze(3)
    recorded = RecordEpisodeStatistics(ours)
    for known in (env, ours, recorded):
        assert as_environment(known) is known


def change(**methods):
    return type("Broken", (Older,), methods)()


@pytest.mark.parametrize(
    ("env", "error", "message"),
    [
        (object(), TypeError, "got object without `reset`, `step`, `action_space`, `observation_space`"),
        (Forwarding(object()), TypeError, "got Forwarding without `reset`, `action_space`, `observation_space`"),
        (change(step=lambda *_: (0, 0, 0, 0)), TypeError, r"`step` of Broken must return .*, got 4 values"),
        (change(step=lambda *_: jnp.zeros(3)), TypeError, r"`step` of Broken must return .*, got an array of shape"),
        (
            change(reset=lambda *_: jnp.zeros(3)),
            TypeError,
            r"`reset` of Broken must return \(observation, state\)",
        ),
        (
            change(step=lambda *_: (0, 0, 0, False, False, {"x": 1})),
            ValueError,
            r"`info` of Broken.step must hold `final_observation`, got a dict with keys \['x'\]; .* AutoReset",
        ),
        (
            change(reset_env=lambda *_: (jnp.zeros(2), State(time=0))),
            ValueError,
            r"observation and state must keep their shapes, got \(2,\) after reset and \(\) after step",
        ),
    ],
)
def test_errors_name_what_is_missing(env, error, message):
    with pytest.raises(error, match=message):
        as_environment(env)


FAST = ("CartPole-v1", "MemoryChain-bsuite", "FrozenLake-misc")


def gymnax_ids():
    gymnax = pytest.importorskip("gymnax", reason="the extra `gymnax` is not installed")
    offline = [name for name in gymnax.registered_envs if name != "MNISTBandit-bsuite"]
    return [pytest.param(name, marks=[] if name in FAST else [SLOW]) for name in offline]


@pytest.mark.parametrize("name", gymnax_ids())
def test_gymnax(name):
    env, params = make(f"gymnax::{name}")
    assert isinstance(env, Environment)
    world = conformance.visit(env, params, steps=60)
    conformance.keeps_its_types(world)
    conformance.batches_like_one(world)
    # Only shape and dtype: some observations of gymnax leave the bounds that it declares (MemoryChain, GaussianBandit).
    space, seen = env.observation_space(params), world.log["final"]
    assert (seen.shape[2:], seen.dtype) == (space.shape, space.dtype)
    assert world.log["observation"].dtype == space.dtype


def test_gymnax_steps_like_the_library():
    gymnax = pytest.importorskip("gymnax")
    env, params = make("gymnax::CartPole-v1")
    raw, params = gymnax.make("CartPole-v1")[0], params.replace(max_steps_in_episode=18)

    def step(key, state, action):
        observation, state, reward, terminated, _ = raw.step_env(key, state, action, params)
        return observation, state, reward, terminated, raw.is_truncated(state, params)

    # The two programs round their sums in another order.
    library = Library(lambda key: raw.reset_env(key, params), step)
    assert compare(env, params, library, tolerance=1e-5) > 10


def test_a_raw_gymnax_environment_is_taken_as_it_is():
    gymnax = pytest.importorskip("gymnax")
    raw, params = gymnax.make("CartPole-v1")
    env = as_environment(raw, params)
    key = jax.random.key(0)
    _, state = env.reset(key, params)
    ours, theirs = env.step(key, state, jnp.int32(1), params), raw.step(key, state, jnp.int32(1), params)
    assert_equal(ours[:5], theirs[:5])
    assert_equal(ours[5]["final_observation"], theirs[5]["final_observation"])
    assert env.observation_space(params).shape == (4,)


def test_spaces_are_constants_while_parameters_are_traced():
    env, params = make("gymnax::CartPole-v1")
    shape = []
    jax.eval_shape(lambda p: shape.append(env.observation_space(p).low.shape), params)
    assert shape == [(4,)]


def test_gymnax_arguments_and_near_misses():
    pytest.importorskip("gymnax")
    assert make("gymnax::MemoryChain-bsuite", num_bits=3)[0].observation_space().shape == (5,)
    with pytest.raises(ValueError, match="unknown environment `gymnax::Cartpole-v1`; nearest: CartPole-v1"):
        make("gymnax::Cartpole-v1")
