"""The dense layers and norms of a network see flat arrays, and compute what they would of sequences."""

import contextlib

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params

from memorax.core.types import Timestep
from memorax.learning.reconstruction import Reconstruction
from memorax.networks import MLP, FeatureExtractor, Network, SequenceModelWrapper, blocks, heads
from memorax.networks.flat_layers import flat_layers
from memorax.networks.sequence_models import GRU, IndRNN

BATCH, TIME = 3, 4


@pytest.fixture
def timestep(key):
    observation = jax.random.normal(key, (BATCH, TIME, 5))
    zeros = jnp.zeros((BATCH, TIME))
    return Timestep(observation=observation, action=jnp.ones((BATCH, TIME, 2)), reward=zeros + 1, done=zeros > 0)


def parts(torso):
    return FeatureExtractor(MLP((6, 6), nn.tanh), MLP((3,)), MLP((2,))), torso, heads.Categorical(2, hidden=(4,))


def mlp():
    return SequenceModelWrapper(MLP((7,), nn.tanh))


def products(jaxpr):
    """The ranks of what is multiplied anywhere in a program."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            yield max(operand.aval.ndim for operand in equation.invars)
        for inner in jaxprs_in_params(equation.params):
            yield from products(inner)


def loss(network, timestep):
    def compute(params):
        (_, policy), sown = network.apply(params, timestep, mutable="losses")
        return jnp.sum(policy.log_prob(jnp.ones((BATCH, TIME), int))) + sum(map(jnp.sum, jax.tree.leaves(sown)))

    return compute


@pytest.mark.parametrize("kind", [Network, Reconstruction])
def test_no_product_has_batch_and_time_in_front(key, timestep, kind):
    network = kind(*parts(mlp()))
    params = network.init(key, timestep)
    ranks = list(products(jax.make_jaxpr(jax.grad(loss(network, timestep)))(params).jaxpr))
    assert len(ranks) > 10
    assert set(ranks) == {2}


@pytest.mark.parametrize("torso", [IndRNN(7), blocks.Stack(blocks=[blocks.FFN(6), IndRNN(7)])])
def test_nor_has_a_product_of_a_torso_alone(key, torso):
    inputs, done = jnp.ones((BATCH, TIME, 5)), jnp.zeros((BATCH, TIME), bool)
    params = torso.init(key, inputs, done)
    gradient = jax.grad(lambda params: jnp.sum(torso.apply(params, inputs, done)[1]))
    assert set(products(jax.make_jaxpr(gradient)(params).jaxpr)) == {2}


@pytest.mark.parametrize("torso", [mlp, lambda: GRU(6), lambda: blocks.Stack([GRU(6), blocks.FFN(8)])])
def test_outputs_and_gradients_are_those_of_sequences(key, timestep, monkeypatch, torso):
    network = Network(*parts(torso()))
    params = network.init(key, timestep)
    flat = jax.value_and_grad(loss(network, timestep))(params)
    monkeypatch.setattr("memorax.networks.network.flat_layers", contextlib.nullcontext)
    plain = jax.value_and_grad(loss(network, timestep))(network.init(key, timestep))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), flat, plain)


class Positions(nn.Dense):
    """A layer of a person's own, which reads the axis of time."""

    def __call__(self, inputs):
        return super().__call__(inputs) + jnp.arange(inputs.shape[1])[:, None]


def test_a_subclass_sees_sequences(key):
    layer, inputs = Positions(2), jnp.ones((BATCH, TIME, 5))
    with flat_layers():
        outputs, params = layer.init_with_output(key, inputs)
    np.testing.assert_array_equal(outputs, layer.apply(params, inputs))


@pytest.mark.parametrize("layer", [nn.Dense(2), nn.LayerNorm(), nn.RMSNorm()])
@pytest.mark.parametrize("shape", [(5,), (2, 5), (2, 0, 5), (2, 3, 4, 5)])
def test_layers_keep_the_axes_in_front(key, layer, shape):
    inputs = jax.random.normal(key, shape)
    params = layer.init(key, inputs)
    with flat_layers():
        outputs = layer.apply(params, inputs)
    np.testing.assert_allclose(outputs, layer.apply(params, inputs), rtol=1e-6)
    assert outputs.shape[:-1] == shape[:-1]


@pytest.mark.parametrize("layer", [nn.LayerNorm(), nn.RMSNorm(), nn.LayerNorm(reduction_axes=(1, 2))])
def test_a_norm_over_the_features_sees_flat_arrays(key, layer):
    inputs = jax.random.normal(key, (BATCH, TIME, 5))
    params = layer.init(key, inputs)
    with flat_layers():
        program = str(jax.make_jaxpr(layer.apply)(params, inputs))
        outputs = layer.apply(params, inputs)
    assert (f"{BATCH * TIME},5" in program) == (layer.reduction_axes == -1)
    np.testing.assert_allclose(outputs, layer.apply(params, inputs), rtol=1e-6)
