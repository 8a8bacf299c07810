"""Losses that modules sow reach the optimizer, and cost nothing where none are sown."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests import example_agents as agents

from memorax.core.spaces import encode
from memorax.learning import ActorCritic, agent_networks, unroll_with_losses
from memorax.learning.auxiliary import sown_metrics
from memorax.learning.soft_actor_critic import ReplayedSequences
from memorax.learning.unroll import unroll
from memorax.networks.blocks import FFN, MoE, Projection, Stack
from memorax.testing.probe_environments import Clock

EXPERTS, CHOSEN, WIDTH = 4, 2, 11
KEY = jax.random.key(0)


def torso(coefficient):
    moe = MoE(FFN(5), num_experts=EXPERTS, top_k=CHOSEN, balance_coefficient=coefficient)
    return Stack(blocks=[Projection(WIDTH), moe])


def make(coefficient, **options):
    return agents.ppo(Clock(), partial(torso, coefficient), **options)


def minibatch(agent):
    """What the first gradient step sees."""
    begin = agent.init(KEY)
    state, steps = agent.rollout(KEY, begin, agent.config.num_steps)
    return begin.learner.params, agent.batch(begin.learner, steps, state.loop), begin.loop.carry


def balance(agent, params, inputs, carry):
    """The loss of one network, worked out from its router's weights."""
    network = agent.networks.actor.network

    def routed(network, inputs, carry):
        return network.torso.blocks[0](network.feature_extractor(inputs), inputs.done, carry[0])[1]

    features = network.apply(params, inputs, carry, method=routed)
    logits = np.asarray(features @ params["params"]["torso"]["blocks_1"]["network"]["router"]["kernel"], np.float64)
    probability = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    flat = probability.reshape(-1, EXPERTS)
    hits = np.zeros_like(flat)
    np.put_along_axis(hits, np.argsort(-flat, axis=-1)[:, :CHOSEN], 1.0 / CHOSEN, axis=-1)
    return EXPERTS * np.sum(hits.mean(0) * flat.mean(0))


@pytest.fixture(scope="module")
def shared():
    """One trunk: the agent with a loss of weight 1, and what its first gradient step sees."""
    agent = make(1.0)
    return agent, *minibatch(agent)


def test_the_loss_is_added_once_on_a_shared_trunk(shared):
    agent, params, batch, carry = shared
    inputs = batch.inputs.replace(action=encode(agent.vector_env.action_space, batch.inputs.action))
    want = balance(agent, params["actor"], inputs, carry["actor"])
    assert want > 1.001  # perfectly balanced experts would make the test vacuous
    weighted, metrics = jax.jit(agent.loss)(params, batch, carry)
    plain, same = jax.jit(make(0.0).loss)(params, batch, carry)
    np.testing.assert_allclose(weighted - plain, want, rtol=1e-4)
    np.testing.assert_allclose(metrics.pop("balance"), want, rtol=1e-4)
    jax.tree.map(np.testing.assert_array_equal, metrics, same)


def test_its_gradient_reaches_the_router_and_not_the_heads(shared):
    agent, params, batch, carry = shared

    def gradient(agent):
        return jax.jit(jax.grad(agent.loss, has_aux=True))(params, batch, carry)[0]

    differ = jax.tree.map(lambda x, y: float(jnp.abs(x - y).max()), gradient(agent), gradient(make(0.0)))
    assert differ["actor"]["params"]["torso"]["blocks_1"]["network"]["router"]["kernel"] > 1e-4
    assert max(jax.tree.leaves(differ["actor"]["params"]["torso"]["blocks_0"])) > 1e-5
    assert max(jax.tree.leaves(differ["actor"]["params"]["torso"]["blocks_1"]["network"]["expert"])) == 0
    assert max(jax.tree.leaves((differ["actor"]["params"]["head"], differ["critic"]))) == 0


@pytest.mark.slow
def test_training_moves_the_router_by_it():
    def router(coefficient):
        agent = make(coefficient)
        state = agent.train(KEY, agent.init(KEY), agent.steps_per_update)
        return state.learner.actor.params["params"]["torso"]["blocks_1"]["network"]["router"]["kernel"]

    assert jnp.abs(router(1.0) - router(0.0)).max() > 1e-4


def test_each_of_two_trunks_has_its_own(shared):
    alone, params, batch, carry = shared
    assert "losses" not in params["actor"]
    for agent, count in ((alone, 1), (make(1.0, shared=False), 2)):
        state = jax.eval_shape(agent.init, KEY)
        run = partial(jax.eval_shape, agent.networks.unroll_with_losses)
        _, _, sown = run(state.learner.params, batch.inputs, state.loop.carry)
        assert [loss.shape for loss in sown.values()] == [()] * count
    _, _, one = alone.networks.unroll_with_losses(params, batch.inputs, carry)
    actor, critic = alone.networks.actor.network, alone.networks.critic.network
    critic = critic.clone(torso=torso(1.0), feature_extractor=agents.extractor())
    apart = ActorCritic(alone.vector_env, actor, critic)
    double = {"actor": params["actor"], "critic": {"params": params["actor"]["params"] | params["critic"]["params"]}}
    carries = {"actor": carry["actor"], "critic": carry["actor"]}
    _, _, two = apart.unroll_with_losses(double, batch.inputs, carries)
    assert set(two) == {"actor/torso/blocks_1/network/balance", "critic/torso/blocks_1/network/balance"}
    np.testing.assert_array_equal(list(two.values()), list(one.values()) * 2)
    assert sown_metrics(two) == {"balance": sum(two.values())}


@pytest.mark.slow
def test_sac_logs_the_losses_of_actor_and_critics_together():
    agent = agents.sac(Clock(), partial(torso, 1.0))

    @jax.jit
    def compute(key):
        state = agent.warmup(key, agent.init(key), 40)
        batch, learner = agent.buffer.sample(state.buffer, key).experience, state.learner
        seen = ReplayedSequences(agent.networks, batch, agent.networks.replayed_carry(key, batch), 0)
        _, _, actor = seen.policy_actions(learner.actor.params, key)
        _, critics = seen.values(learner.critics.params)
        _, metrics = agent.gradient_step(key, learner, seen, state.step)
        return metrics["balance"], list(actor.values()), list(critics.values())

    logged, actor, critics = compute(KEY)
    assert (len(actor), len(critics)) == (1, 2)
    np.testing.assert_allclose(logged, sum(actor + critics), rtol=1e-5)


@pytest.mark.slow
def test_burn_in_sows_nothing_and_a_single_network_may_sow(shared):
    agent, params, batch, carry = shared
    network, space = agent.networks.actor.network, agent.vector_env.action_space
    run = partial(unroll_with_losses, network, params["actor"], action_space=space)
    after, _, late = run(batch.inputs, carry["actor"], burn_in=3)
    refreshed, _, _ = run(jax.tree.map(lambda x: x[:, :3], batch.inputs), carry["actor"])
    again, _, want = run(jax.tree.map(lambda x: x[:, 3:], batch.inputs), refreshed)
    assert late == want
    assert len(want) == 1
    jax.tree.map(np.testing.assert_array_equal, after, again)


def test_networks_that_sow_nothing_are_compiled_as_if_there_were_no_such_thing(monkeypatch):
    agent = agents.ppo(Clock(), "gru")
    given = jax.eval_shape(partial(minibatch, agent))
    with_losses = str(jax.make_jaxpr(agent.loss)(*given))
    monkeypatch.setattr(agent_networks, "unroll_with_losses", lambda *args, **more: (*unroll(*args, **more), {}))
    assert with_losses == str(jax.make_jaxpr(agent.loss)(*given))
