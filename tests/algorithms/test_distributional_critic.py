"""A critic that learns by classification: PPO takes it, with the loss that belongs to it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tests import example_agents as agents

from memorax.algorithms import PPO, PPOConfig
from memorax.learning import ActorCritic
from memorax.networks import Network, heads
from memorax.objectives import cross_entropy, gaussian_histogram
from memorax.testing.probe_environments import Clock

HEAD = heads.HLGaussVNetwork(num_bins=20, v_min=-1.0, v_max=4.0)


def ppo(env, head=HEAD, cls=PPO, **config):
    trunk = agents.extractor(), agents.TORSOS["mlp"]()
    actor, critic = Network(*trunk, heads.Categorical(action_dim=3)), Network(*trunk, head)
    optimizer = optax.adam(0.02)
    return cls(PPOConfig(**(agents.SMALL | config)), env, env.default_params, actor, critic, optimizer, optimizer)


def test_the_loss_of_the_critic_is_the_cross_entropy_to_a_blurred_target(key):
    agent = ppo(Clock("truncated"))

    @jax.jit
    def compute(key):
        state = agent.init(key)
        after, steps = agent.rollout(key, state, agent.config.num_steps)
        batch, carry = agent.batch(state.learner, steps, after.loop), state.loop.carry
        _, (_, value) = agent.networks.unroll(state.learner.params, batch.inputs, carry)
        return agent.loss(state.learner.params, batch, carry)[1], value, batch

    metrics, value, batch = compute(key)
    expected = cross_entropy(value.logits, gaussian_histogram(batch.target, value.values))
    np.testing.assert_allclose(metrics["critic"], expected.mean(), rtol=1e-5)
    np.testing.assert_allclose(batch.value, value.mean(), atol=1e-5)


@pytest.mark.slow
def test_it_knows_that_a_truncated_episode_goes_on(key):
    agent = ppo(Clock("truncated", min_length=2, max_length=3, blind=True), gamma=0.5)
    state = agent.train(key, agent.init(key), 100 * agent.steps_per_update)
    _, steps = agent.rollout(key, state, 20)
    np.testing.assert_allclose(steps.aux["value"].mean(), 2.0, rtol=0.1)


def test_algorithms_that_do_not_know_it_refuse_it():
    class Plain(PPO):
        def make_networks(self, actor, critic):
            return ActorCritic(self.vector_env, actor, critic, distributional=False)

    with pytest.raises(TypeError, match="`critic` must have a head that gives one value per step, got HLGaussVNetwork"):
        ppo(Clock(), cls=Plain)
    with pytest.raises(TypeError, match="one value per step, got C51QNetwork"):
        ppo(Clock(), heads.C51QNetwork(action_dim=3))


def test_advantages_are_numbers():
    steps = jax.eval_shape(lambda key: ppo(Clock()).rollout(key, ppo(Clock()).init(key), 5)[1], jax.random.key(0))
    assert (steps.aux["value"].shape, steps.aux["value"].dtype) == ((6, 5), jnp.float32)
