"""PPO learns as well as is published; PQN controls and remembers; GradientPPO learns what PPO learns."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from tests.long_runs import compile_for_long

from memorax import lox
from memorax.algorithms import GradientPPOConfig, PPOConfig, PQNConfig
from memorax.experiment import RunConfig, build_agent, default_run

pytestmark = pytest.mark.slow


def final_returns(hyperparameters, **fields):
    """Mean return of 20 episodes of the greedy policy, of each of three seeds."""
    config = RunConfig(hyperparameters=hyperparameters, **fields)
    agent = build_agent(config)

    def run(key):
        state = agent.train(key, agent.init(key), config.steps)
        return lox.spool(agent.evaluate)(key, state, num_episodes=20)[1]["returned_episode_returns"]

    return np.asarray(compile_for_long(jax.vmap(run))(jax.random.split(jax.random.key(0), 3))).mean(axis=(1, 2))


PQN = {"algorithm": "pqn", "steps": 500_000, "anneal_learning_rate": True, "max_grad_norm": 10.0}


def test_pqn_balances_a_pole():
    pytest.importorskip("gymnax")
    env = {"env": "gymnax::CartPole-v1", "model": "mlp", "features": 64, "learning_rate": 1e-3}
    returns = final_returns(PQNConfig(), **PQN, **env)
    assert (returns >= 475.0).all(), returns


def test_pqn_remembers_for_fifty_steps():
    env = {"env": "memory::MemoryChain", "env_options": {"length": 50}, "features": 32, "learning_rate": 2e-3}
    config = PQNConfig(num_steps=128, num_minibatches=4, epsilon_steps=50_000)
    returns = final_returns(config, **PQN, **env, model="gru")
    assert (returns >= 0.95).all(), returns


ON_POLICY = {"steps": 200_000, "learning_rate": 2e-3, "share_trunk": False}
# Annealed: at a constant rate the pole falls now and then, in one of 21 runs in the last evaluation.
POLE = {"env": "gymnax::CartPole-v1", "model": "mlp", "features": 64, "anneal_learning_rate": True}


@pytest.mark.parametrize(
    ("fields", "sizes", "chunk", "margin"),
    [
        (POLE, {"num_envs": 16, "num_steps": 64}, 16, 10.0),
        ({"env": "memory::RepeatPreviousEasy", "features": 32}, {"num_envs": 32, "num_steps": 64}, 64, 0.05),
    ],
    ids=["a pole", "a memory"],
)
def test_gradient_ppo_is_no_worse_than_ppo(fields, sizes, chunk, margin):
    if fields["env"].startswith("gymnax"):
        pytest.importorskip("gymnax")
    config = GradientPPOConfig(**sizes, truncation_length=chunk)
    ours = final_returns(config, algorithm="gradient_ppo", **ON_POLICY, **fields)
    theirs = final_returns(PPOConfig(**sizes), algorithm="ppo", **ON_POLICY, **fields)
    assert ours.mean() >= theirs.mean() - margin, (ours, theirs)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("env", ["RepeatPreviousEasy", "RepeatFirstEasy", "PositionOnlyCartPoleEasy"])
def test_ppo_reaches_the_return_that_popgym_publishes(env):
    # Morad et al. 2023, https://arxiv.org/abs/2303.01859, PPO with a GRU: 1.0 on each, the best mean of a run.
    agent = build_agent(replace(default_run("ppo"), env=f"memory::{env}"))
    keys = jax.random.split(jax.random.key(0), 3)
    states, best = jax.vmap(agent.init)(keys), np.zeros(3)
    train = compile_for_long(jax.vmap(agent.train, in_axes=(0, 0, None)), static_argnums=2)
    play = compile_for_long(jax.vmap(lambda key, state: lox.spool(agent.evaluate)(key, state, num_episodes=100)[1]))
    for _ in range(10):
        states = train(keys, states, 200_000)
        best = np.maximum(best, np.asarray(play(keys, states)["returned_episode_returns"]).mean(axis=(1, 2)))
        if (best >= 0.99).all():
            break
    assert (best >= 0.99).all(), best
