"""Observations in other containers, of odd shapes, and text in `info`: taken, or refused when the agent is built."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct
from flax.core import FrozenDict
from tests import example_agents as agents

from memorax.cli.train import train_options
from memorax.core.spaces import Box, Dict, Discrete, Tuple
from memorax.environments import Environment, as_environment
from memorax.environments.wrappers import DelayedObservation, MaskObservation
from memorax.experiment import build_agent
from memorax.networks import MLP, Entries, FeatureExtractor
from memorax.testing import check_environment


@struct.dataclass
class State:
    time: Any


class Showing(Environment):
    """Shows what `make` makes of the time, in episodes of four steps."""

    def __init__(self, make, space, info=None, reward=lambda: 1.0):
        self.make, self.space, self.info, self.reward = make, space, info or {}, reward

    def reset_env(self, key, params):
        time = jnp.zeros(())
        return self.make(time), State(time)

    def step_env(self, key, state, action, params):
        time = state.time + 1
        return self.make(time), State(time), self.reward(), time >= 4, self.info

    def action_space(self, params=None):
        return Discrete(3)

    def observation_space(self, params=None):
        return self.space


SPACE = Dict({"b": Box(0.0, 9.0, (2,)), "a": Tuple([Box(0.0, 9.0, ()), Discrete(7)])})


def parts(time):
    return {"b": jnp.stack([time, time]), "a": (time, time.astype(jnp.int32))}


@struct.dataclass
class Seen:
    b: Any
    a: Any


class Pair(NamedTuple):
    first: Any
    second: Any


def as_frozen_dict(time):
    return FrozenDict(parts(time))


def as_dataclass(time):
    return Seen(parts(time)["b"], Pair(*parts(time)["a"]))


@pytest.mark.parametrize("make", [as_frozen_dict, as_dataclass])
def test_mappings_and_dataclasses_are_dictionaries_for_the_agent(make):
    env = as_environment(Showing(make, SPACE))
    observation, state = env.reset(jax.random.key(0))
    assert jax.tree.structure(observation) == jax.tree.structure(parts(jnp.zeros(())))
    observation, *_, info = env.step(jax.random.key(0), state, jnp.int32(0))
    for seen in (observation, info["final_observation"]):
        jax.tree.map(np.testing.assert_array_equal, seen, parts(jnp.ones(())))


def test_dictionaries_are_taken_as_they_are():
    env = Showing(parts, SPACE)
    assert as_environment(env) is env


@pytest.mark.parametrize("make", [as_frozen_dict, as_dataclass])
def test_wrappers_take_them_too(make):
    env = DelayedObservation(Showing(make, SPACE), 1)
    first, state = env.reset(jax.random.key(0))
    later, *_ = env.step(jax.random.key(0), state, jnp.int32(0))
    jax.tree.map(np.testing.assert_array_equal, later, parts(jnp.zeros(())))
    assert first["a"][1] == 7
    kept = MaskObservation(Showing(make, SPACE), ["a"]).reset(jax.random.key(0))[0]
    assert list(kept) == ["b"]


def test_an_agent_trains_on_them():
    entries = Entries({"b": MLP((3,)), "a": Entries([MLP((2,)), lambda x: jax.nn.one_hot(x, 7)])})
    agent = agents.ppo(Showing(as_dataclass, SPACE), "mlp", extract=FeatureExtractor(entries))
    state = jax.eval_shape(agent.init, jax.random.key(0))
    assert isinstance(state.loop.timestep.observation, dict)
    jax.eval_shape(lambda state: agent.train(jax.random.key(0), state, agent.steps_per_update), state)


class Hollow(Showing):
    """Shows an entry without a number, and holds an array without one in its state, as Playground does."""

    def __init__(self):
        space = Dict({"time": Box(0.0, 9.0, (1,)), "nothing": Box(0.0, 9.0, (0, 2))})
        super().__init__(lambda time: {"time": time[None], "nothing": jnp.zeros((0, 2))}, space)

    def reset_env(self, key, params):
        observation, state = super().reset_env(key, params)
        return observation, {"inner": state, "nothing": jnp.zeros((3, 0))}

    def step_env(self, key, state, action, params):
        observation, inner, _, *rest = super().step_env(key, state["inner"], action, params)
        return observation, state | {"inner": inner}, jax.random.uniform(key), *rest


LEARNERS = [("ppo", "mlp"), ("r2d2", "gru")]
SLOW = [("ppo", "gru"), ("dqn", "mlp"), ("pqn", "gru"), ("gradient_ppo", "gru")]


@pytest.mark.parametrize(
    ("algorithm", "torso"), [*LEARNERS, *(pytest.param(*learner, marks=pytest.mark.slow) for learner in SLOW)]
)
def test_agents_train_where_an_array_is_empty(algorithm, torso):
    options = ["--env", f"{__name__}:Hollow", "--model", torso, "--normalize-observations"]
    agent = build_agent(train_options([algorithm, *options])[0])
    state = jax.eval_shape(agent.init, jax.random.key(0))
    jax.eval_shape(lambda state: agent.train(jax.random.key(0), state, agent.steps_per_update), state)


def test_an_environment_with_empty_arrays_is_sound():
    check_environment(Hollow(), steps=12)


def test_a_dataclass_that_is_no_pytree_is_refused_by_name():
    cls = dataclasses.make_dataclass("Plain", ["b", "a"])
    with pytest.raises(TypeError, match=r"must be arrays .*, got Plain\(.*; make .* with `flax.struct.dataclass`"):
        as_environment(Showing(lambda time: cls(**parts(time)), SPACE))


def test_text_in_info_is_ignored():
    space = Box(0.0, 9.0, (1,))
    info = {"mission": "go to the door", "names": ["a", "b"], "nothing": None}
    for env in (Showing(lambda time: time[None], space, info), Six(Showing(lambda time: time[None], space, info))):
        agent = agents.ppo(env, "mlp")
        state = jax.eval_shape(agent.init, jax.random.key(0))
        jax.eval_shape(lambda state, agent=agent: agent.train(jax.random.key(0), state, agent.steps_per_update), state)


class Six:
    """The same environment, as another library's object."""

    def __init__(self, env):
        self.inner, self.default_params = env, None
        self.reset, self.step = env.reset, env.step
        self.action_space, self.observation_space = env.action_space, env.observation_space


def test_a_reward_with_an_axis_is_refused():
    env = Showing(lambda time: time[None], Box(0.0, 9.0, (1,)), reward=lambda: jnp.ones((1,)))
    with pytest.raises(ValueError, match=r"`reward` of Showing must be a scalar, got an array of shape \(1,\)"):
        agents.ppo(env, "mlp")


def test_an_observation_without_a_number_is_refused():
    with pytest.raises(ValueError, match=r"`inputs` of MLP must have at least one feature, got shape \(6, 1, 0\)"):
        agents.ppo(Showing(lambda time: jnp.zeros(0), Box(0.0, 1.0, (0,))), "mlp")


@pytest.mark.parametrize("dtype", [jnp.bool_, jnp.float32])
def test_a_single_flag_or_number_is_a_vector_of_one_feature(dtype):
    env = Showing(lambda time: (time > 1).astype(dtype), Box(0, 1, (), dtype))
    agent = agents.ppo(env, "mlp")
    params = jax.eval_shape(agent.init, jax.random.key(0)).learner.actor.params["params"]
    assert params["feature_extractor"]["observation_extractor"]["Dense_0"]["kernel"].shape == (1, 7)
