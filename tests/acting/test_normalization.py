"""Normalized observations and rewards: the same statistics in acting, learning and evaluation, of all environments."""

import jax
import numpy as np
import pytest
from tests import example_agents as agents
from tests.assertions import assert_equal

from memorax import lox
from memorax.algorithms import PPO
from memorax.core.spaces import Discrete
from memorax.testing.algorithm_properties import types
from memorax.testing.probe_environments import Clock, Scaled

KEY = jax.random.key(0)
BOTH = {"normalize_observations": True, "normalize_rewards": True}


class Counted(Scaled):
    """Shows whole numbers only."""

    def observation_space(self, params=None):
        return Discrete(100)

    def show(self, state):
        return state.time


def test_nothing_is_in_the_way_where_nothing_is_normalized():
    agent = agents.ppo(Clock(), "mlp")
    state = agent.init(KEY)
    assert state.scales is None
    rollout_state, policy = state.loop, agent.policy(state.learner, state.step, "explore")
    _, steps = jax.eval_shape(lambda: agent.vector_env.rollout(KEY, rollout_state, policy, 2))
    assert agent.normalizer.policy(None, policy) is policy
    assert agent.normalizer.transition(None, steps) is steps
    assert agent.normalizer.timestep(None, rollout_state.timestep) is rollout_state.timestep


def walk(agent, num_updates):
    states = [agent.init(KEY)]
    for _ in range(num_updates):
        states.append(agent.train(KEY, states[-1], agent.steps_per_update))
    return states


def test_the_statistics_are_those_of_everything_that_was_seen():
    env, gamma = Scaled(unit=4.0), 0.5
    agent = agents.stream_ac(env, "mlp", num_envs=2, gamma=gamma, **BOTH)
    states = walk(agent, 12)
    seen = np.concatenate([state.loop.timestep.observation for state in states])
    scales = states[-1].scales
    assert scales.observations.count == len(seen)
    np.testing.assert_allclose(scales.observations.mean[0], seen.mean(axis=0), rtol=1e-4)
    np.testing.assert_allclose(scales.observations.variance[0], seen.var(axis=0, ddof=1), rtol=1e-4)

    totals, running = [], np.zeros(2)
    for state in states[1:]:
        running = np.asarray(state.loop.timestep.reward) + gamma * running
        totals.append(running)
        running = np.where(state.loop.timestep.done, 0.0, running)
    np.testing.assert_allclose(scales.running_return, running, rtol=1e-5)
    np.testing.assert_allclose(scales.returns.variance, np.concatenate(totals).var(ddof=1), rtol=1e-4)
    assert sum(state.loop.timestep.done.any() for state in states[1:]) > 3


class LearnsByOtherStatistics(PPO):
    """Learns from other numbers than it acted on."""

    def learn(self, key, learner, trajectory, rollout_state, carry):
        shifted = trajectory.inputs.replace(observation=trajectory.observation + 1.0)
        return super().learn(key, learner, trajectory.replace(inputs=shifted), rollout_state, carry)


def divergence(cls):
    """How far, before its first gradient step, what the learner computes is from what was recorded while acting."""
    agent = agents.ppo(Scaled(40.0), "mlp", cls=cls, num_minibatches=1, update_epochs=1, **BOTH)
    state = agent.train(KEY, agent.init(KEY), agent.steps_per_update)
    state, logs = lox.spool(agent.train)(KEY, state, num_steps=agent.steps_per_update)
    return agent, state, float(np.abs(logs["losses/kl"]).max())


@pytest.mark.slow
def test_the_ratio_is_one_and_evaluation_uses_the_statistics_as_they_are():
    agent, state, far = divergence(PPO)
    assert far < 1e-9
    assert divergence(LearnsByOtherStatistics)[2] > 1e-6
    assert_equal(agent.evaluate(KEY, state, num_steps=3), state)
    assert types(agent.rollout(KEY, state, 2)[0]) == types(state)
    assert state.scales.observations.count == 6 * (1 + 2 * 8)

    # The best action depends on the statistics; evaluation must have them.
    def shown(state):
        policy, _ = agent.acting(state, "exploit")
        return policy(KEY, state.loop.carry, state.loop.timestep)[2]["value"]

    other = state.replace(scales=jax.tree.map(lambda x: 3 * x, state.scales))
    assert np.abs(np.asarray(shown(state)) - np.asarray(shown(other))).max() > 1e-4


def test_whole_numbers_cannot_be_normalized():
    with pytest.raises(TypeError, match="`normalize_observations` needs floating-point observations, got int32 only"):
        agents.stream_ac(Counted(), "mlp", normalize_observations=True)
