"""Where a team is rewarded together, an agent's return has what the team earns after the agent is out."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct
from tests import example_agents as agents
from tests.assertions import assert_equal

from memorax.algorithms import MAPPOConfig
from memorax.core.spaces import Box, Discrete
from memorax.environments.multi_agent import MultiAgentEnvironment, PartnerRecall, RollCall
from memorax.testing import algorithm_properties as replay
from memorax.testing.algorithm_properties import PROPERTIES, is_not_disturbed_by_evaluation, keeps_its_types

STEPS, PAY = 4, 10.0
WHOLE = {"num_envs": 2, "num_steps": STEPS, "gae_lambda": 1.0, "num_minibatches": 1, "update_epochs": 1}
"""Rollouts of one episode, and Monte Carlo returns."""


@struct.dataclass
class State:
    time: jax.Array
    left: jax.Array


class Sacrifice(MultiAgentEnvironment):
    """The first of two agents leaves in the first step, if it chooses to or must; then the end pays both more."""

    num_agents = 2

    def __init__(self, *, forced=True, truncated=False):
        self.forced, self.truncated = forced, truncated

    @property
    def default_params(self):
        return None

    def reset_env(self, key, params):
        del key
        state = State(jnp.zeros((), jnp.int32), jnp.zeros((), bool))
        return self.observe(state), state

    def observe(self, state):
        return jnp.stack([jnp.eye(STEPS + 1)[state.time]] * 2)

    def step_env(self, key, state, action, params):
        leaves = (state.time == 0) & (self.forced | (action[0] == 1))
        state = State(state.time + 1, state.left | leaves)
        over = state.time == STEPS
        out = jnp.stack([state.left | (over & ~self.truncated), over & ~self.truncated])
        reward = jnp.where(over, jnp.where(state.left, PAY, 0.1 * PAY), 0.0)
        return self.observe(state), state, jnp.stack([reward, reward]), out, {}

    def is_truncated(self, state, params):
        return (state.time == STEPS) & self.truncated & ~jnp.stack([state.left, jnp.zeros((), bool)])

    def agent_action_space(self, params=None):
        return Discrete(2)

    def agent_observation_space(self, params=None):
        return Box(0.0, 1.0, (STEPS + 1,))


def learned_from(agent, key):
    """What each agent learns from in its first rollout, `[agents, num_envs, ...]`, and the rollout."""
    member = agent.member
    member.learn = lambda key, learner, trajectory, last, carry: member.batch(learner, trajectory, last)
    state = agent.init(key)
    after, steps = agent.rollout(key, state, agent.config.num_steps)
    batch = jax.jit(agent.learn)(key, state.learner, steps, after.loop, state.loop.carry)
    return batch, steps


@pytest.mark.parametrize(
    ("flags", "returns"),
    [({}, [9.702990, 9.801, 9.9, 10.0]), ({"team_returns": False}, [0.0, 0.0, 0.0, 10.0])],
    ids=["team", "own"],
)
def test_who_leaves_for_a_win_has_earned_it(flags, returns):
    agent = agents.mappo(Sacrifice(), "mlp", **WHOLE, **flags)
    batch, _ = learned_from(agent, jax.random.key(0))
    np.testing.assert_allclose(batch.target[0], [returns, returns], rtol=1e-6)
    np.testing.assert_allclose(batch.target[1], [[9.702990, 9.801, 9.9, 10.0]] * 2, rtol=1e-6)
    first_only = [[1, 0, 0, 0]] * 2
    if flags:
        np.testing.assert_array_equal(batch.weight[0], first_only)
        assert batch.active is None
    else:
        np.testing.assert_array_equal(batch.weight, np.ones((2, 2, 4)))
        np.testing.assert_array_equal(batch.active[0], first_only)
        np.testing.assert_array_equal(batch.active[1], np.ones((2, 4)))


def test_whether_a_team_is_rewarded_is_said_by_the_environment():
    assert agents.mappo(Sacrifice(), "mlp").vector_env.team_returns
    for env in (RollCall(), PartnerRecall()):
        assert not agents.mappo(env, "mlp").vector_env.team_returns
        assert agents.mappo(env, "mlp", team_returns=True).vector_env.team_returns
    with pytest.raises(TypeError, match="`team_returns` must be True or False or None, got 'no'"):
        MAPPOConfig(team_returns="no")


def test_who_left_before_the_time_limit_is_valued_at_the_end_too():
    agent = agents.mappo(Sacrifice(truncated=True), "mlp", **WHOLE)
    batch, steps = learned_from(agent, jax.random.key(0))
    np.testing.assert_array_equal(steps.terminated[0], [[True, False]] * STEPS)
    np.testing.assert_array_equal(steps.truncated[0], [[False, False]] * 3 + [[False, True]])
    bootstrap = steps.aux["bootstrap"]
    assert (bootstrap[:, -1] != 0).all()
    np.testing.assert_array_equal(bootstrap[:, :-1], np.zeros((2, 3, 2)))
    expected = 0.99**4 * bootstrap[:, -1] + 0.99**3 * PAY
    np.testing.assert_allclose(batch.target[:, :, 0].T, expected, rtol=1e-6)


def test_the_memory_of_who_is_out_lasts_as_long_as_the_return(key):
    agent = agents.mappo(Sacrifice(), "gru")
    state = agent.init(key)
    timestep = dataclasses.replace(state.loop.timestep, done=jnp.array([[True, False], [True, True]] * 3))
    assert_equal(agent._inputs(timestep).done, jnp.array([[False, False], [True, True]] * 3))
    own = agents.mappo(Sacrifice(), "gru", team_returns=False)
    assert_equal(own._inputs(timestep).done, timestep.done)


@pytest.mark.parametrize("torso", ["mlp", pytest.param("gru", marks=pytest.mark.slow)])
def test_who_is_out_learns_values_but_not_actions(torso, key):
    agent = agents.mappo(Sacrifice(), torso, shared=False, **WHOLE)
    state = agent.init(key)
    after, steps = agent.rollout(key, state, STEPS)
    learn = jax.jit(agent.learn)
    expected = learn(key, state.learner, steps, after.loop, state.loop.carry)
    where = jnp.zeros((2, STEPS, 2), bool).at[:, 1:, 0].set(True)
    log_prob = jnp.where(where, -2.0, steps.aux["log_prob"])
    acted = dataclasses.replace(steps, aux=steps.aux | {"log_prob": log_prob})
    assert_equal(learn(key, state.learner, acted, after.loop, state.loop.carry), expected)
    # From the first step, all that differs is the sum.
    reward = steps.reward.at[:, 1, 0].add(7.0).at[:, 2, 0].add(-7.0 / 0.99)
    paid = learn(key, state.learner, dataclasses.replace(steps, reward=reward), after.loop, state.loop.carry)
    assert not np.array_equal(*(jax.tree.leaves(x.critic.params)[-1][0] for x in (paid, expected)))
    assert_equal(jax.tree.map(lambda x: x[1], paid), jax.tree.map(lambda x: x[1], expected))


def test_returns_are_normalized_by_those_of_whole_episodes(key):
    agent = agents.mappo(Sacrifice(), "mlp", normalize_rewards=True, **WHOLE)
    state = agent.init(key)
    _, steps = agent.rollout(key, state, 3)
    reward = jnp.ones_like(steps.reward)
    scales = agent.normalizer.after_rewards(state.scales, dataclasses.replace(steps, reward=reward))
    np.testing.assert_allclose(scales.running_return, np.full((2, 2), 1 + 0.99 + 0.99**2), rtol=1e-6)


@pytest.mark.parametrize("holds", [keeps_its_types, is_not_disturbed_by_evaluation], ids=lambda f: f.__name__)
def test_property(holds):
    holds(agents.mappo(Sacrifice(), "mlp"))


@pytest.mark.slow
@pytest.mark.parametrize("flags", [{}, {"share_parameters": True}, {"centralized_critic": True}], ids=str)
def test_every_property_holds_with_every_flag(flags):
    for ending in (False, True):
        agent = agents.mappo(Sacrifice(truncated=ending), "gru", **flags)
        for holds in PROPERTIES:
            holds(agent)


@pytest.mark.parametrize("flags", [{}, {"normalize_observations": True, "normalize_rewards": True}], ids=str)
def test_the_first_ratio_is_one(flags):
    once = {"num_minibatches": 1, "update_epochs": 1}
    replay.begins_with_a_ratio_of_one(agents.mappo(Sacrifice(forced=False), "gru", **once, **flags))


def chance_to_leave(key, **flags):
    agent = agents.mappo(Sacrifice(forced=False), "mlp", learning_rate=0.01, entropy_coefficient=0.0, **flags)
    state = agent.train(key, agent.init(key), 40 * agent.steps_per_update)
    _, steps = agent.rollout(key, state, 60)
    first = steps.inputs.done.all(axis=-1)
    return steps.action[..., 0][first].mean()


def test_a_sacrifice_is_learned(key):
    assert chance_to_leave(key) > 0.95
    assert chance_to_leave(key, team_returns=False) < 0.05
