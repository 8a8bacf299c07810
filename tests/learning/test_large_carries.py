"""Replay buffers store large memories compactly, by the rule of `store_carry`, and nothing is lost by it."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tests import example_agents as agents

from memorax import lox
from memorax.algorithms import DQN, DQNConfig
from memorax.environments import make
from memorax.experiment import build_agent, default_run
from memorax.experiment.run.display import Quiet
from memorax.experiment.run.train import announce, prepare
from memorax.learning import replay
from memorax.networks import MLP, FeatureExtractor, Network, heads
from memorax.networks.sequence_models import SelfAttention
from memorax.testing.probe_environments import Clock, Recall


@pytest.fixture
def all_are_large(monkeypatch):
    """Even the memories of a small network in a small replay buffer are large."""
    monkeypatch.setattr(replay, "_LARGE_BYTES", 0)
    monkeypatch.setattr(replay, "_LARGE_SHARE", 0.0)


def stored(agent):
    """The dtypes of the stored memories, and how many steps apart they are."""
    carry = jax.eval_shape(agent.init, jax.random.key(0)).buffer.experience.carry
    return {x.dtype for x in jax.tree.leaves(carry)}, agent.buffer.layout.period


@pytest.mark.parametrize(("model", "compact"), [("gru", False), ("attention", True)])
def test_default_runs_with_large_memories_store_them_compactly(model, compact):
    agent = build_agent(dataclasses.replace(default_run("dqn"), model=model))
    dtypes, period = stored(agent)
    is_rounded = jnp.dtype(jnp.bfloat16) in dtypes
    assert (period, bool(agent.remarks), is_rounded) == ((16, True, True) if compact else (8, False, False))
    state = jax.eval_shape(agent.init, jax.random.key(0))
    floating = [x for x in jax.tree.leaves(state.loop.carry) if jnp.issubdtype(x.dtype, jnp.floating)]
    assert {x.dtype for x in floating} == {jnp.dtype(jnp.float32)}


@pytest.mark.parametrize("make_agent", [agents.dqn, agents.r2d2, agents.sac])
def test_the_rule_is_that_of_every_algorithm_with_a_replay_buffer(make_agent, all_are_large):
    agent = make_agent(Clock())
    dtypes, period = stored(agent)
    learned = agent.config.sequence_length - 1 - agent.burn_in
    assert (dtypes, period) == ({jnp.dtype(jnp.bfloat16)}, learned)
    (remark,) = agent.remarks
    assert f"memories every {learned} steps in bfloat16" in remark
    exact = make_agent(Clock(), store_carry=True)
    assert stored(exact) == ({jnp.dtype(jnp.float32)}, learned // 2)
    assert not exact.remarks
    assert stored(make_agent(Clock(), sequence_period=3))[1] == 3
    assert not make_agent(Clock(), "mlp").remarks
    assert not make_agent(Clock(), store_carry=False).remarks


def test_an_agent_with_other_hyperparameters_stores_them_alike(all_are_large):
    agent = agents.r2d2(Clock())
    other = agent.with_hyperparameters(agent.hyperparameters() | {"priority_exponent": 0.5})
    assert stored(other) == stored(agent)


def test_values_of_rounded_memories_are_those_of_acting_but_for_rounding(all_are_large):
    class Recording(DQN):
        def record(self, transition):
            return super().record(transition).replace(aux=transition.aux)

    agent = agents.dqn(Recall(4), "attention", cls=Recording, sequence_period=1)

    @jax.jit
    def replayed(key):
        state = agent.warmup(key, agent.init(key), 40)
        batch = agent.buffer.sample(state.buffer, key).experience
        carry = agent.networks.replayed_carry(key, batch)
        values = agent.networks.unroll(state.learner.online.params, batch.inputs, carry)[1]
        return batch, carry, values

    batch, carry, values = replayed(jax.random.key(3))
    assert {x.dtype for x in jax.tree.leaves(batch.carry)} == {jnp.dtype(jnp.bfloat16), jnp.dtype(jnp.int32)}
    assert any(x.any() for x in jax.tree.leaves(carry))
    assert np.abs(values - batch.aux["q"]).max() > 1e-6
    np.testing.assert_allclose(values, batch.aux["q"], atol=2e-2)


def test_a_run_says_it_before_it_begins(all_are_large, tmp_path):
    hyperparameters = DQNConfig(batch_size=2, learning_starts=1_000, buffer_size=2_000)
    config = dataclasses.replace(default_run("dqn"), features=4, seeds=1, steps=1_000, hyperparameters=hyperparameters)
    notes, display = [], Quiet()
    display.note = notes.append
    session = prepare(config, tmp_path / "run")
    try:
        announce(session, display)
    finally:
        session.close()
    assert any("in bfloat16" in note and "`store_carry=True` keeps them exact" in note for note in notes)


REMEMBERS = {"num_envs": 16, "train_frequency": 16, "batch_size": 32, "buffer_size": 50_000, "learning_starts": 2_000}
REMEMBERS |= {"target_update_frequency": 800, "gamma": 0.97, "epsilon_steps": 40_000, "sequence_length": 13}


def share_that_remembers(**fields):
    """How often a cue of ten steps ago is remembered, by each seed; most sequences begin inside of an episode."""
    env, env_params = make("memory::MemoryChain", length=10)
    extractor = FeatureExtractor(observation_extractor=MLP(features=(32,)))
    head = heads.DiscreteQNetwork(action_dim=env.action_space(env_params).n, dueling=True)
    network = Network(extractor, SelfAttention(features=32, num_heads=2, context_length=16), head)
    optimizer = optax.chain(optax.clip_by_global_norm(10.0), optax.adam(1e-3))
    agent = DQN(DQNConfig(**REMEMBERS, n_step=5, **fields), env, env_params, network, optimizer)

    def run(key):
        state = agent.train(key, agent.warmup(key, agent.init(key), 4_000), 80_000)
        return lox.spool(agent.evaluate)(key, state, num_episodes=100, num_steps=50)[1]["returned_episode_returns"]

    return np.asarray(jax.jit(jax.vmap(run))(jax.random.split(jax.random.key(0), 3))).mean(axis=(1, 2))


@pytest.mark.slow
def test_nothing_is_lost(all_are_large):
    compact = share_that_remembers()
    assert (compact >= 0.9).all(), compact
