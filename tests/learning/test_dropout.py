"""Dropout in learning and nowhere else; networks that hold more than parameters are refused."""

import flax.linen as nn
import jax
import numpy as np
import optax
import pytest

from memorax.algorithms import DQN, PPO, PQN, DQNConfig, PPOConfig, PQNConfig, StreamAC, StreamACConfig
from memorax.environments import make
from memorax.learning.dropout import dropout
from memorax.networks import MLP, RNN, FeatureExtractor, Network, heads
from memorax.networks.blocks import FFN, PreNorm, Residual, Stack

REPLAY = {"num_envs": 2, "train_frequency": 4, "batch_size": 2, "buffer_size": 64, "learning_starts": 8}


def network(head, rate=0.0, extractor=None):
    blocks = [RNN(cell=nn.GRUCell(features=4)), Residual(PreNorm(FFN(hidden_dim=8, dropout_rate=rate)))]
    return Network(FeatureExtractor(extractor or MLP((4,))), Stack(blocks=blocks), head)


def make_agent(name, rate=0.0, extractor=None):
    env, params = make("memory::RepeatPreviousEasy")
    actions, adam = env.action_space(params).n, optax.adam(1e-3)
    if name in ("dqn", "pqn"):
        q = network(heads.DiscreteQNetwork(action_dim=actions), rate, extractor)
        if name == "dqn":
            return DQN(DQNConfig(**REPLAY, sequence_length=4), env, params, q, adam)
        return PQN(PQNConfig(num_envs=2, num_steps=4, num_minibatches=1), env, params, q, adam)
    actor = network(heads.Categorical(action_dim=actions), rate, extractor)
    critic = network(heads.VNetwork(), rate, extractor)
    if name == "ppo":
        return PPO(PPOConfig(num_envs=2, num_steps=4, num_minibatches=1), env, params, actor, critic, adam, adam)
    return StreamAC(StreamACConfig(num_envs=2), env, params, actor, critic)


def draws(function, *arguments):
    """How many dropout masks a program draws."""
    return str(jax.make_jaxpr(function)(*arguments)).count("bernoulli")


@pytest.mark.parametrize("name", ["dqn", "pqn", "ppo", "stream_ac"])
def test_learning_drops_out_and_acting_does_not(name):
    for rate, expected in ((0.0, False), (0.5, True)):
        agent = make_agent(name, rate)
        state = jax.eval_shape(agent.init, jax.random.key(0))

        def train(key, state, agent=agent):
            return agent.train(key, state, num_steps=agent.steps_per_update)

        def evaluate(key, state, agent=agent):
            return agent.evaluate(key, state, num_steps=2)

        assert bool(draws(train, jax.random.key(1), state)) == expected
        assert not draws(evaluate, jax.random.key(1), state)


def test_key_determines_the_mask():
    agent = make_agent("ppo", 0.5)
    state = agent.init(jax.random.key(0))
    params = state.learner.params
    inputs = jax.tree.map(lambda x: x[:, None], state.loop.timestep)
    outputs = []
    for seed in (None, 0, 0, 1):
        with dropout(None if seed is None else jax.random.key(seed)):
            _, (_, value), _ = agent.networks.unroll_with_losses(params, inputs, state.loop.carry)
        outputs.append(np.asarray(value))
    none, first, again, second = outputs
    assert (first == again).all()
    assert (first != second).any()
    assert (none != first).any()


class AlwaysDropping(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dropout(0.5, deterministic=False)(nn.Dense(4)(x))


class Batched(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.BatchNorm(use_running_average=False)(nn.Dense(4)(x))


@pytest.mark.parametrize("name", ["dqn", "ppo", "stream_ac"])
def test_module_that_cannot_act_without_dropout_is_refused(name):
    with pytest.raises(ValueError, match=r"active in learning alone is written `nn\.Dropout"):
        make_agent(name, extractor=AlwaysDropping())


@pytest.mark.parametrize("name", ["dqn", "ppo", "stream_ac"])
def test_state_beside_the_parameters_is_refused(name):
    with pytest.raises(ValueError, match="must hold parameters only, got the collections `batch_stats`"):
        make_agent(name, extractor=Batched())
