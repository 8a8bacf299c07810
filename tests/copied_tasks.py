"""Copies of a task side by side as one with several agents, and each copy by itself with the same randomness."""

import jax
import jax.numpy as jnp

from memorax.environments import Environment
from memorax.environments.multi_agent import MultiAgentEnvironment
from memorax.testing.probe_environments import Recall


class CutRecall(Recall):
    """Its episodes are cut where those of `Recall` terminate."""

    def step_env(self, key, state, action, params):
        observation, state, reward, terminated, info = super().step_env(key, state, action, params)
        return observation, state, reward, jnp.zeros_like(terminated), info

    def is_truncated(self, state, params):
        return state.time > self.delay


class Copies(MultiAgentEnvironment):
    """A copy for each agent; episodes of all copies must be equally long."""

    def __init__(self, task, num_agents):
        self.task, self.num_agents = task, num_agents

    @property
    def default_params(self):
        return self.task.default_params

    def reset_env(self, key, params):
        return jax.vmap(self.task.reset_env, (0, None))(jax.random.split(key, self.num_agents), params)

    def step_env(self, key, state, action, params):
        keys = jax.random.split(key, self.num_agents)
        return jax.vmap(self.task.step_env, (0, 0, 0, None))(keys, state, action, params)

    def is_truncated(self, state, params):
        return jax.vmap(self.task.is_truncated, (0, None))(state, params)

    def agent_action_space(self, params=None):
        return self.task.action_space(params)

    def agent_observation_space(self, params=None):
        return self.task.observation_space(params)


class Copy(Environment):
    """One of the copies, with the keys that it has among the others."""

    def __init__(self, task, index, num_agents):
        self.task, self.index, self.num_agents = task, index, num_agents

    @property
    def default_params(self):
        return self.task.default_params

    def own(self, key):
        return jax.random.split(key, self.num_agents)[self.index]

    def reset_env(self, key, params):
        return self.task.reset_env(self.own(key), params)

    def step_env(self, key, state, action, params):
        return self.task.step_env(self.own(key), state, action, params)

    def is_truncated(self, state, params):
        return self.task.is_truncated(state, params)

    def action_space(self, params=None):
        return self.task.action_space(params)

    def observation_space(self, params=None):
        return self.task.observation_space(params)


def member(cls, index, num_agents):
    """An algorithm that has the keys of one agent among several."""

    def own(key):
        return jax.random.split(key, num_agents)[index]

    class Member(cls):
        def initialize_carry(self, key, batch):
            return super().initialize_carry(own(key), batch)

        def init_learner(self, key, rollout_state):
            return super().init_learner(own(key), rollout_state)

        def policy(self, learner, step, behavior):
            act = super().policy(learner, step, behavior)
            return lambda key, carry, timestep: act(own(key), carry, timestep)

        def learn(self, key, learner, trajectory, rollout_state, carry):
            return super().learn(own(key), learner, trajectory, rollout_state, carry)

    return Member
