"""SAC learns to swing a pendulum up, from angles alone where it remembers, and to balance a pole."""

import jax
import numpy as np
import optax
import pytest
from tests.long_runs import compile_for_long

from memorax import lox
from memorax.algorithms import SAC, SACConfig
from memorax.core.spaces import Discrete
from memorax.environments import make
from memorax.environments.wrappers import ScaleReward
from memorax.networks import MLP, FeatureExtractor, Network, heads
from memorax.networks.sequence_models import MODELS

SEEDS = 3


def build(name, model="mlp", learning_rate=1e-3, scale=1.0, temperature=1.0, **config):
    """An agent whose networks see the previous action too."""
    env, env_params = make(name)
    env = ScaleReward(env, scale)
    space = env.action_space(env_params)
    if isinstance(space, Discrete):
        policy, value = heads.Categorical(space.n), heads.DiscreteQNetwork(space.n)
    else:
        policy, value = heads.SquashedGaussian(space.shape[0]), heads.ContinuousQNetwork((64,))

    def network(head):
        extractor = FeatureExtractor(observation_extractor=MLP((64,)), action_extractor=lambda x: x)
        return Network(extractor, MODELS.get(model)(features=64), head)

    networks = network(policy), network(value), heads.Alpha(temperature)
    return SAC(SACConfig(**config), env, env_params, *networks, *[optax.adam(learning_rate)] * 3)


def final_returns(agent, num_steps, num_episodes=20):
    """Mean return of each seed after training, acting as well as possible."""

    def run(key):
        state = agent.warmup(key, agent.init(key), 1_000)
        state = agent.train(key, state, num_steps - 1_000)
        return lox.spool(agent.evaluate)(key, state, num_episodes=num_episodes)[1]["returned_episode_returns"]

    return np.asarray(compile_for_long(jax.vmap(run))(jax.random.split(jax.random.key(0), SEEDS))).mean(axis=(1, 2))


@pytest.mark.slow
def test_a_pendulum_is_swung_up():
    pytest.importorskip("gymnax")
    agent = build("gymnax::Pendulum-v1", num_envs=4, train_frequency=1, batch_size=64)
    returns = final_returns(agent, 30_000)
    assert (returns >= -200.0).all(), returns


@pytest.mark.slow
def test_a_pendulum_without_velocity_needs_memory():
    # Rewards of one in 200 would be lost in what entropy is paid at first.
    config = {"scale": 200.0, "temperature": 0.1, "tau": 0.02, "num_envs": 8, "train_frequency": 8, "batch_size": 32}
    name, num_steps = "memory::PositionOnlyPendulumEasy", 60_000
    with_memory = final_returns(build(name, "gru", burn_in_length=2, **config), num_steps)
    without = final_returns(build(name, **(config | {"sequence_length": 17})), num_steps)
    assert with_memory.min() > without.max() + 20.0, (with_memory, without)


@pytest.mark.slow
def test_a_pole_is_balanced():
    pytest.importorskip("gymnax")
    config = {"num_envs": 8, "train_frequency": 4, "batch_size": 64, "tau": 0.05, "target_entropy_scale": 0.5}
    # Quickly learned targets: with slow ones, or large steps, it drifts to the border and stays content with that.
    learning_rate = optax.linear_schedule(3e-4, 1e-5, 4_000, transition_begin=8_000)
    agent = build("gymnax::CartPole-v1", learning_rate=learning_rate, **config)
    returns = final_returns(agent, 60_000)
    assert (returns >= 400.0).all(), returns
