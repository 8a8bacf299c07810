"""What a user hands in as an environment: taken, or refused in one sentence that names what is wrong."""

import gc
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

from memorax.core import spaces
from memorax.core.spaces import Box, Dict, Discrete, Tuple
from memorax.environments import Environment, EnvState, as_environment, make
from memorax.environments.wrappers import AutoReset, TimeLimit


class Toy(Environment):
    """Shows three random numbers; ends after two steps."""

    def reset_env(self, key, params):
        return jax.random.uniform(key, (3,)), EnvState(time=jnp.int32(0))

    def step_env(self, key, state, action, params):
        state = EnvState(time=state.time + 1)
        return jax.random.uniform(key, (3,)), state, 1.0, state.time >= 2, {}

    def action_space(self, params=None):
        return Discrete(2)

    def observation_space(self, params=None):
        return Box(0.0, 1.0, (3,))


def toy(space=None, show=None, **methods):
    """A toy with another observation space or other methods."""

    def reset_env(self, key, params):
        observation, state = Toy.reset_env(self, key, params)
        return show(observation), state

    def step_env(self, key, state, action, params):
        observation, *rest = Toy.step_env(self, key, state, action, params)
        return show(observation), *rest

    if space is not None:
        methods["observation_space"] = lambda self, params=None: space
    if show is not None:
        methods |= {"reset_env": reset_env, "step_env": step_env}
    return type("Broken", (Toy,), methods)()


def returns(*values):
    return lambda self, key, state, action, params=None: values


FIRST = jnp.zeros(3)
STATE = EnvState(time=jnp.int32(0))
INFO = {"final_observation": FIRST}


class TwoShapes(Toy):
    def step(self, key, state, action, params=None):
        observation, _, *rest = super().step(key, state, action, params)
        return observation, EnvState(time=jnp.zeros(2, jnp.int32)), *rest


@pytest.mark.parametrize(
    ("env", "error", "message"),
    [
        (Toy, TypeError, r"`env` must be an environment, got the class Toy; write `Toy\(\.\.\.\)`"),
        (3, TypeError, "`env` must have `reset`, `step`, .*, got int without `reset`, `step`"),
        (
            toy(reset=lambda self, key, params=None: FIRST),
            TypeError,
            r"`reset` of Broken must return \(observation, state\), got an array of shape \(3,\)",
        ),
        (
            toy(step=returns(FIRST, 1.0, False, {})),
            TypeError,
            r"`step` of Broken must return \(.*, truncated, info\), got 4 values; those of the old gym",
        ),
        (toy(step=returns(FIRST, 1.0, False)), TypeError, "got 3 values; those of the old gym"),
        (toy(step=returns(FIRST, STATE, 1.0, False, False, None)), TypeError, "`info` of Broken.step must be a dict"),
        (
            toy(step=returns(FIRST, STATE, 1.0, False, False, {"text": "x"})),
            ValueError,
            r"`info` of Broken.step must hold `final_observation`, got a dict with keys \['text'\]",
        ),
        (
            toy(step=returns(FIRST, STATE, jnp.ones((1,)), False, False, INFO)),
            ValueError,
            r"`reward` of Broken must be a scalar, got an array of shape \(1,\)",
        ),
        (
            toy(step=returns(FIRST, STATE, 1.0, jnp.zeros((1,), bool), False, INFO)),
            ValueError,
            "`terminated` of Broken must be a scalar",
        ),
        (
            toy(step=returns(FIRST, STATE, 1.0, False, False, {"final_observation": jnp.zeros(2)})),
            ValueError,
            r"`final_observation` of Broken must be in Box\(0, 1, \(3,\), float32\), got an array of shape \(2,\)",
        ),
        (
            toy(Box(0.0, 1.0, (4,))),
            ValueError,
            r"observation of Broken must be in Box\(0, 1, \(4,\), float32\), got an array of shape \(3,\)",
        ),
        (toy(Box(0, 9, (3,), jnp.int32)), ValueError, r"must be in Box\(0, 9, \(3,\), int32\), got dtype float32"),
        (toy(show=lambda x: [x, x]), TypeError, r"observation of Broken must be an array, .*, got a list"),
        (
            toy(Dict({"a": Box(0.0, 1.0, (3,))}), lambda x: {"b": x}),
            ValueError,
            r"observation of Broken must be a dict with keys \['a'\], got a dict with keys \['b'\]",
        ),
        (
            toy(Dict({"a": Box(0.0, 1.0, (2,))}), lambda x: {"a": x}),
            ValueError,
            r"observation\['a'\] of Broken must be in Box\(0, 1, \(2,\), float32\)",
        ),
        (toy(Tuple((Discrete(2), Discrete(2))), lambda x: (x,)), ValueError, "must be a tuple of 2, got 1 values"),
        (
            TwoShapes(),
            ValueError,
            r"state.time of TwoShapes must keep its shape, got \(\) after reset and \(2,\) after step",
        ),
        (
            toy(step=returns(FIRST, (1, 2), 1.0, False, False, INFO)),
            ValueError,
            "state of Broken must keep its structure",
        ),
    ],
)
def test_what_does_not_fit_is_named(env, error, message):
    with pytest.raises(error, match=message):
        as_environment(env)


@pytest.mark.parametrize(
    "env",
    [
        Toy(),
        TimeLimit(Toy(), 3),
        toy(Box(0.0, 1.0, (3,), jnp.float16), lambda x: x.astype(jnp.float16)),
        toy(Box(0, 1, (3,), bool), lambda x: x > 0.5),
        toy(Box(0.0, 1.0, ()), lambda x: x[0]),
        toy(Discrete(2), lambda x: 1),
        toy(Dict({"a": Box(0.0, 1.0, (3,))}), lambda x: {"a": x}),
        toy(Tuple((Box(0.0, 1.0, (3,)), Discrete(2))), lambda x: (x, jnp.int32(1))),
        toy(show=lambda x: {"action_mask": jnp.ones(2, bool), "seen": x}),
        toy(
            Dict({"action_mask": Box(0, 1, (2,), bool), "seen": Box(0.0, 1.0, (3,))}),
            lambda x: {"action_mask": jnp.ones(2, bool), "seen": x},
        ),
        make("multi_agent::RollCall")[0],
    ],
)
def test_what_fits_is_taken_unchanged(env):
    assert as_environment(env) is env


def test_an_environment_is_traced_for_the_first_agent_only_and_then_forgotten():
    traced = []

    class Counting(Toy):
        def reset_env(self, key, params):
            traced.append(1)
            return super().reset_env(key, params)

    env = Counting()
    as_environment(env)
    number = len(traced)
    as_environment(env)
    assert len(traced) == number > 0
    reference = weakref.ref(env)
    del env
    jax.clear_caches()
    gc.collect()
    assert reference() is None


class GymBox:
    """A space as gymnasium's: known by its name and members."""

    low, high, shape, dtype = np.zeros(3), np.ones(3), (3,), np.dtype("float64")


class GymDiscrete:
    n, start, dtype = 2, 0, np.dtype("int64")


GymBox.__name__, GymDiscrete.__name__ = "Box", "Discrete"


@pytest.mark.parametrize("attribute", [False, True])
def test_spaces_of_gymnasium_are_translated(attribute):
    box, discrete = GymBox(), GymDiscrete()
    methods = {"observation_space": lambda self, params=None: box, "action_space": lambda self, params=None: discrete}
    given = type("Given", (Toy,), {"observation_space": box, "action_space": discrete} if attribute else methods)()
    env = as_environment(given)
    assert env.observation_space(env.default_params) == Box(0.0, 1.0, (3,))
    assert env.action_space(env.default_params) == Discrete(2)
    assert env.name == "Given"
    np.testing.assert_array_equal(env.reset(jax.random.key(0))[0], given.reset(jax.random.key(0))[0])
    assert isinstance(env.observation_space(), spaces.Space)


def test_an_environment_that_resets_by_itself_is_not_reset_again():
    class Own:
        def reset(self, key, params):
            return FIRST, STATE

        def step(self, key, state, action, params):
            return FIRST, STATE, 1.0, False, False, INFO

        def action_space(self, params):
            return Discrete(2)

        def observation_space(self, params):
            return Box(0.0, 1.0, (3,))

    as_environment(Own())
    with pytest.raises(TypeError, match="`raw` must not reset by itself, got Own, whose `info` holds"):
        AutoReset(Own())


@struct.dataclass
class CraftState:
    timestep: jax.Array
    key: jax.Array


@struct.dataclass
class CraftParams:
    max_timesteps: int = 3


class Craft:
    """Five values, a random key in the state, and a time limit under Craftax's names."""

    default_params = CraftParams()

    def reset_env(self, key, params):
        return jnp.zeros(()), CraftState(jnp.int32(0), key)

    def step_env(self, key, state, action, params):
        key, _ = jax.random.split(state.key)
        state = CraftState(state.timestep + 1, key)
        done = (state.timestep >= getattr(params, "max_timesteps", 3)) | (action == 1)
        return jnp.float32(state.timestep), state, 0.0, done, {}

    reset = reset_env
    step = step_env

    def action_space(self, params):
        return Discrete(2)

    def observation_space(self, params):
        return Box(0.0, 9.0, ())


def ends(env, params, actions):
    def act(state, action):
        observation, state, _, terminated, truncated, _ = env.step(state.key, state, action, params)
        return state, (observation, terminated, truncated)

    return jax.lax.scan(act, env.reset(jax.random.key(0), params)[1], jnp.array(actions))[1]


def test_a_key_in_the_state_and_the_time_limit_of_craftax_are_known():
    observation, terminated, truncated = ends(as_environment(Craft()), CraftParams(), [0, 0, 0, 0, 1, 0, 0, 0])
    np.testing.assert_array_equal(observation, [1, 2, 0, 1, 0, 1, 2, 0])
    np.testing.assert_array_equal(np.flatnonzero(truncated), [2, 7])
    np.testing.assert_array_equal(np.flatnonzero(terminated), [4])


@struct.dataclass
class OddParams:
    size: int = 5
    step_limit: int = 3


def test_a_time_limit_of_unknown_name_is_warned_of():
    message = "environment Craft has a parameter `step_limit` that looks like a time limit, .* all ends count as"
    with pytest.warns(UserWarning, match=message):
        env = as_environment(Craft(), OddParams())
    assert not ends(env, OddParams(), [0, 0, 0, 0])[2].any()


def test_a_time_limit_without_a_known_clock_is_warned_of():
    class Clockless(Craft):
        def reset_env(self, key, params):
            return jnp.zeros(()), {"key": key}

        def step_env(self, key, state, action, params):
            return jnp.zeros(()), state, 0.0, action == 1, {}

    with pytest.warns(UserWarning, match="Clockless has a parameter `max_timesteps`"):
        as_environment(Clockless())
    as_environment(Clockless(), ())  # no parameter, nothing to warn of


def test_an_environment_that_tells_truncation_is_not_warned_of():
    class Telling(Craft):
        def step_env(self, key, state, action, params):
            *rest, done, info = super().step_env(key, state, action, params)
            return *rest, done, info | {"truncated": done & (action == 0)}

    _, terminated, truncated = ends(as_environment(Telling(), OddParams()), OddParams(), [0, 0, 0, 1])
    assert (truncated.tolist(), terminated.tolist()) == ([False, False, True, False], [False, False, False, True])
