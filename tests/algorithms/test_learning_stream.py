"""StreamAC learns from a single stream, without memory and with one."""

import jax
import numpy as np
import pytest
from tests.long_runs import compile_for_long

from memorax import lox
from memorax.algorithms import StreamAC, StreamACConfig
from memorax.environments import make
from memorax.networks import RNN, RTRL, RTUCell, heads, streaming_network


def final_return(agent, num_steps):
    def run(key):
        state = agent.train(key, agent.init(key), num_steps)
        return lox.spool(agent.evaluate)(key, state, num_episodes=100)[1]["returned_episode_returns"]

    return np.asarray(compile_for_long(jax.vmap(run))(jax.random.split(jax.random.key(0), 3))).mean(axis=(1, 2))


def build(env, memory, features, **config):
    env, env_params = env
    actions = env.action_space(env_params).n
    actor, critic = (
        streaming_network(head, memory(), features=features) for head in (heads.Categorical(actions), heads.VNetwork())
    )
    return StreamAC(StreamACConfig(normalize_rewards=True, **config), env, env_params, actor, critic)


@pytest.mark.slow
def test_one_stream_balances_the_pole():
    pytest.importorskip("gymnax")
    agent = build(make("gymnax::CartPole-v1"), lambda: None, (32, 32), normalize_observations=True)
    returns = final_return(agent, 500_000)
    assert (returns >= 400).all(), returns


@pytest.mark.slow
def test_one_stream_and_a_memory_with_exact_gradients_recall_a_bit():
    """That it learns, not that exact gradients are what it takes: without `RTRL` it does so, too.

    No setting was found in which only the exact gradients solve the task: with 4 units that begin by forgetting the bit
    within its length (`r_max` 0.6), 10 of 12 seeds solve it with and 11 of 12 without; of lengths 20 and 30 as few with
    as without. `docs/algorithms/stream-ac.md` has the table. That the gradients are exact, and that those of one step
    are others, is tested in `test_stream_ac.py`.
    """

    def memory():
        return RTRL(model=RNN(cell=RTUCell(features=32, hidden_dim=16)))

    agent = build(make("memory::MemoryChain", length=10), memory, (32,), entropy_coefficient=0.1)
    returns = final_return(agent, 200_000)
    assert np.sum(returns >= 0.9) >= 2, returns  # of twelve other seeds ten do, so that one of three may not
