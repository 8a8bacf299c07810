"""Agents learn in environments that run in Python."""

from functools import partial

import jax
import numpy as np
import pytest
from tests import example_agents
from tests.environments.host.toys import Recall

from memorax import lox
from memorax.environments import as_host, make

pytestmark = pytest.mark.slow


def test_ppo_with_a_memory_learns_to_recall():
    options = {"num_envs": 16, "num_steps": 16, "learning_rate": 1e-2}
    returns = {}
    for torso in ("gru", "mlp"):
        agent = example_agents.ppo(as_host(partial(Recall, 4), groups=2), torso, **options)
        state = agent.train(jax.random.key(1), agent.init(jax.random.key(0)), 100 * agent.steps_per_update)
        _, logs = lox.spool(agent.evaluate)(jax.random.key(2), state, num_episodes=64)
        returns[torso] = float(np.mean(logs["returned_episode_returns"]))
        agent.close()
    assert returns["gru"] > 0.9
    assert returns["mlp"] < 0.5


def test_r2d2_learns_to_recall():
    agent = example_agents.r2d2(
        as_host(partial(Recall, 3), groups=2),
        "gru",
        num_envs=8,
        train_frequency=8,
        batch_size=16,
        buffer_size=4000,
        learning_starts=200,
        target_update_frequency=400,
        learning_rate=3e-3,
        burn_in_length=0,
    )
    state = agent.train(jax.random.key(1), agent.init(jax.random.key(0)), 12_000)
    _, logs = lox.spool(agent.evaluate)(jax.random.key(2), state, num_episodes=64)
    agent.close()
    assert float(np.mean(logs["returned_episode_returns"])) > 0.9


def test_dqn_balances_the_pole():
    env, _ = make("gymnasium::CartPole-v1", max_episode_steps=200)
    agent = example_agents.dqn(
        env,
        "mlp",
        num_envs=8,
        train_frequency=8,
        batch_size=64,
        buffer_size=20_000,
        learning_starts=1000,
        target_update_frequency=800,
        learning_rate=1e-3,
        epsilon_steps=10_000,
    )
    state = agent.train(jax.random.key(1), agent.init(jax.random.key(0)), 40_000)
    _, logs = lox.spool(agent.evaluate)(jax.random.key(2), state, num_episodes=16)
    agent.close()
    assert float(np.mean(logs["returned_episode_returns"])) > 120
