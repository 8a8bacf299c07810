"""A set of parameters for each environment: every environment follows its own, in training and in evaluation."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct
from tests import example_agents as agents
from tests.copied_tasks import Copies

from memorax import lox
from memorax.acting import VectorEnv
from memorax.algorithms import ALGORITHMS
from memorax.core.spaces import Box, Discrete
from memorax.environments import Environment, EnvParams, EnvState

KEY = jax.random.key(0)
LENGTHS = [1, 3, 2, 5, 4, 7]


@struct.dataclass
class PaysParams(EnvParams):
    length: Any = np.int32(2)
    pay: Any = struct.field(default_factory=lambda: np.zeros(2, np.float32))
    limit: Any = np.float32(1.0)


class Pays(Environment):
    """Shows what it pays; episodes have `length` steps."""

    name = "Pays"

    @property
    def default_params(self):
        return PaysParams()

    def reset_env(self, key, params):
        return jnp.asarray(params.pay), EnvState(time=jnp.int32(0))

    def step_env(self, key, state, action, params):
        state = state.replace(time=state.time + 1)
        return jnp.asarray(params.pay), state, jnp.sum(params.pay), state.time >= params.length, {}

    def action_space(self, params=None):
        return Discrete(3)

    def observation_space(self, params=None):
        return Box(-np.inf, np.inf, (2,))


class Steers(Pays):
    """Takes actions up to a limit that is a parameter."""

    def action_space(self, params=None):
        return Box(-float(params.limit), float(params.limit), (1,))


def each(num_envs, **fields):
    """Parameters of which each environment has its own length and pay."""
    pay = np.arange(2 * num_envs, dtype=np.float32).reshape(num_envs, 2)
    return PaysParams(**({"length": np.int32(LENGTHS[:num_envs]), "pay": pay} | fields))


@pytest.mark.parametrize("as_array", [np.asarray, jnp.asarray])
def test_every_environment_has_its_own(as_array):
    params = jax.tree.map(as_array, each(6))
    vector_env = VectorEnv(Pays(), params, 6)
    state = vector_env.reset(KEY, ())
    np.testing.assert_array_equal(state.timestep.observation, params.pay)
    policy = lambda key, carry, timestep: (carry, jnp.zeros(timestep.reward.shape, jnp.int32), {})  # noqa: E731
    _, steps = vector_env.rollout(KEY, state, policy, 14)
    np.testing.assert_array_equal(steps.reward, np.repeat(params.pay.sum(1)[:, None], 14, axis=1))
    np.testing.assert_array_equal(steps.done, [[(t + 1) % n == 0 for t in range(14)] for n in LENGTHS])
    assert vector_env.env_params.length == LENGTHS[0]


def randomized(name, num_envs, **fields):
    """An agent of which each environment has its own parameters."""
    env = Copies(Pays(), 2) if name == "mappo" else Pays()
    agent = getattr(agents, name)(env, "mlp", num_envs=num_envs, **fields)
    agent.vector_env = type(agent.vector_env)(env, each(num_envs), num_envs)
    return agent


def test_in_evaluation_they_begin_again_after_the_last():
    agent = randomized("ppo", 6)
    _, logs = lox.spool(agent.evaluate)(KEY, agent.init(KEY), num_episodes=8)
    np.testing.assert_array_equal(logs["returned_episode_lengths"][0], [*LENGTHS, *LENGTHS[:2]])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"length": np.int32([1, 2, 3, 4])},
            r"`env_params.length` must have shape \(\) to be shared, or \(6,\) for a value in each of `num_envs` \(6\) "
            r"environments, got \(4,\)",
        ),
        ({"pay": np.zeros((2, 2))}, r"`env_params.pay` must have shape \(2,\) .*, or \(6, 2\) .*, got \(2, 2\)"),
    ],
)
def test_another_number_of_sets_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        VectorEnv(Pays(), each(6, **fields), 6)


def test_action_spaces_that_differ_are_refused():
    same = VectorEnv(Steers(), each(2), 2)
    assert same.action_space == Box(-1.0, 1.0, (1,))
    with pytest.raises(ValueError, match="`env_params` must give all environments the same action space, got Box"):
        VectorEnv(Steers(), each(2, limit=np.float32([1.0, 2.0])), 2)


def test_what_is_not_one_for_each_is_shared():
    params = PaysParams(pay=np.float32([3.0, 4.0]))
    state = VectorEnv(Pays(), params, 2).reset(KEY, ())
    np.testing.assert_array_equal(state.timestep.observation, [[3.0, 4.0], [3.0, 4.0]])


@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n == "ppo" else [pytest.mark.slow]) for n in ALGORITHMS])
def test_every_algorithm_trains_with_them_and_refuses_the_state_of_others(name):
    two, four = randomized(name, 2), randomized(name, 4)
    state = four.init(KEY)
    after, steps = four.rollout(KEY, four.train(KEY, state, four.steps_per_update), 6)
    rewards = np.asarray(steps.reward).reshape(4, 6, -1)
    np.testing.assert_array_equal(rewards[..., 0], np.repeat(each(4).pay.sum(1)[:, None], 6, axis=1))
    for method in (two.train, two.rollout, *([two.warmup] if hasattr(two, "buffer") else [])):
        with pytest.raises(ValueError, match=r"`state` must be of `num_envs` \(2\) environments, got one of 4; take"):
            method(KEY, after, 64)
