"""Reconstructing the observation trains the memory, is logged, and costs nothing where its weight is 0."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from memorax import lox
from memorax.algorithms import PPO, PQN, PPOConfig, PQNConfig
from memorax.core.spaces import Box, Discrete
from memorax.core.types import Timestep
from memorax.learning import ImageDecoder, Reconstruction
from memorax.learning.reconstruction import reconstruction_error
from memorax.networks import MLP, RNN, FeatureExtractor, Network, heads, layers
from memorax.testing.probe_environments import Clock, Masked

KEY = jax.random.key(0)


class Pictures(Clock):
    """Shows the time as a picture of odd size: so many rows are white."""

    def observation_space(self, params=None):
        return Box(0.0, 1.0, (7, 5, 2))

    def reset_env(self, key, params):
        _, state = super().reset_env(key, params)
        return self.draw(state), state

    def step_env(self, key, state, action, params):
        _, state, reward, terminated, info = super().step_env(key, state, action, params)
        return self.draw(state), state, reward, terminated, info

    def draw(self, state):
        return jnp.broadcast_to((jnp.arange(7) < state.time)[:, None, None], (7, 5, 2)).astype(jnp.float32)


def ppo(env, coefficient=None, learning_rate=3e-3, extract=None):
    """PPO on one trunk, whose actor reconstructs with a weight; without one it is a plain network."""
    trunk = FeatureExtractor(MLP((7,)) if extract is None else extract), RNN(cell=nn.GRUCell(features=11))
    head = heads.Categorical(action_dim=3)
    actor = Network(*trunk, head) if coefficient is None else Reconstruction(*trunk, head, coefficient)
    config = PPOConfig(num_envs=6, num_steps=4, num_minibatches=1, update_epochs=1)
    return PPO(config, env, None, actor, Network(*trunk, heads.VNetwork()), *[optax.adam(learning_rate)] * 2)


def gradient(agent):
    """Of the loss of the first gradient step, and the metrics."""

    @jax.jit
    def compute(key):
        start = agent.init(key)
        state, steps = agent.rollout(key, start, agent.config.num_steps)
        batch = agent.batch(start.learner, steps, state.loop)
        return jax.grad(agent.loss, has_aux=True)(start.learner.params, batch, start.loop.carry)

    return compute(KEY)


def largest(tree):
    return max(float(jnp.abs(x).max()) for x in jax.tree.leaves(tree))


def test_its_gradient_reaches_decoder_torso_and_extractor_and_no_head():
    (with_it, metrics), (without, plain) = gradient(ppo(Clock(), 2.0)), gradient(ppo(Clock()))
    assert metrics.pop("reconstruction") > 0
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5), metrics, plain)
    actor = with_it["actor"]["params"]
    assert largest(actor.pop("decoder")) > 1e-4
    differ = jax.tree.map(jnp.subtract, with_it, without)
    assert largest(differ["actor"]["params"]["torso"]) > 1e-4
    assert largest(differ["actor"]["params"]["feature_extractor"]) > 1e-4
    assert largest((differ["actor"]["params"]["head"], differ["critic"])) < 1e-6


def test_a_weight_of_zero_leaves_the_run_as_it_was():
    def run(agent):
        return lox.spool(agent.train)(KEY, agent.init(KEY), num_steps=2 * agent.steps_per_update)

    with_it, without = run(ppo(Clock(), 0.0)), run(ppo(Clock()))
    assert jax.tree.structure(with_it) == jax.tree.structure(without)
    jax.tree.map(np.testing.assert_array_equal, with_it, without)


def test_an_agent_learns_to_reconstruct_pictures():
    agent = ppo(Pictures("terminated"), 1.0, 0.03, layers.Flatten())
    train = lox.spool(jax.jit(lambda key: agent.train(key, agent.init(key), 60 * agent.steps_per_update)))
    _, logs = train(KEY)
    loss = logs["losses/reconstruction"]
    assert loss.shape == (60,)
    assert loss[-1] < 0.3 * loss[0]


def pqn(env, extract=None, **options):
    trunk = FeatureExtractor(MLP((7,)) if extract is None else extract), RNN(cell=nn.GRUCell(features=11))
    network = Reconstruction(*trunk, heads.DiscreteQNetwork(action_dim=3), **options)
    config = PQNConfig(num_envs=6, num_steps=4, num_minibatches=1, update_epochs=1)
    return PQN(config, env, None, network, optax.adam(3e-3))


def test_q_learning_reconstructs_too_and_a_mask_of_actions_is_no_observation():
    agent = pqn(Masked(), coefficient=1.0, decoder=nn.Sequential([MLP((5,)), nn.Dense(1)]))
    state, logs = lox.spool(agent.train)(KEY, agent.init(KEY), num_steps=agent.steps_per_update)
    assert np.isfinite(logs["losses/reconstruction"]).all()
    before = agent.init(KEY).learner.params["params"]["decoder"]
    assert largest(jax.tree.map(jnp.subtract, state.learner.params["params"]["decoder"], before)) > 0


def test_errors_by_hand():
    vector = reconstruction_error(jnp.asarray([[[1.0, 3.0]]]), jnp.asarray([[[2.0, 0.0]]]))
    np.testing.assert_allclose(vector, [[[0.5, 4.5]]])
    logits, image = jnp.asarray([0.0, 2.0, -3.0]), jnp.asarray([1.0, 0.25, 0.0])
    shape = (1, 1, 3, 1, 1)
    probability = 1 / (1 + np.exp(-np.asarray(logits, np.float64)))
    entropy = -(image * np.log(probability) + (1 - image) * np.log(1 - probability))
    error = reconstruction_error(logits.reshape(shape), image.reshape(shape))
    np.testing.assert_allclose(np.ravel(error), entropy, rtol=1e-5)


@pytest.mark.parametrize("shape", [(8, 8, 3), (7, 5, 2), (64, 64, 1)])
def test_a_decoder_gives_images_of_any_size(shape):
    features = jax.ShapeDtypeStruct((2, 3, 11), jnp.float32)
    image, _ = jax.eval_shape(lambda x: ImageDecoder(shape).init_with_output(KEY, x), features)
    assert image.shape == (2, 3, *shape)


class Numbers(Clock):
    """Shows a whole number."""

    def observation_space(self, params=None):
        return Discrete(9)

    def reset_env(self, key, params):
        _, state = super().reset_env(key, params)
        return state.time, state

    def step_env(self, key, state, action, params):
        _, state, *rest = super().step_env(key, state, action, params)
        return state.time, state, *rest


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: pqn(Clock(), coefficient=-1.0), ValueError, "`coefficient` must be at least 0, got -1.0"),
        (lambda: pqn(Clock(), decoder=jnp.tanh), TypeError, "`decoder` must be a Flax Linen module or None, got"),
        (
            lambda: pqn(Clock(), decoder=MLP((2,))),
            ValueError,
            r"`decoder` must give .* \(6, 1, 1\), .* got \(6, 1, 2\)",
        ),
        (
            lambda: pqn(Numbers(), nn.Embed(9, 7)),
            TypeError,
            r"needs observations that are vectors, .* got int32\[\]; use `Network`",
        ),
    ],
)
def test_what_cannot_be_reconstructed_is_refused_when_the_agent_is_built(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_it_is_a_network_and_its_outputs_are_those_of_one():
    parts = FeatureExtractor(MLP((7,))), RNN(cell=nn.GRUCell(features=11)), heads.DiscreteQNetwork(action_dim=3)
    network, without = Reconstruction(*parts), Network(*parts)
    inputs = Timestep(jnp.ones((2, 3, 1)), jnp.zeros((2, 3, 3)), jnp.zeros((2, 3)), jnp.zeros((2, 3), bool))
    carry = network.initialize_carry(KEY, network.input_shape(inputs))
    params = network.init(KEY, inputs, carry)
    plain = {"params": {name: part for name, part in params["params"].items() if name != "decoder"}}
    outputs = network.apply(params, inputs, carry), without.apply(plain, inputs, carry)
    jax.tree.map(np.testing.assert_array_equal, *outputs)
    jax.tree.map(np.testing.assert_array_equal, plain, without.init(KEY, inputs, carry))
