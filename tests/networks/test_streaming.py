"""Networks for streams: sparse kernels, normalized layers, a memory with nothing to learn below it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from memorax.core.types import Timestep
from memorax.networks import RNN, RTRL, RTUCell, heads, streaming_network
from memorax.networks.initializers import sparse
from memorax.networks.streaming import normalized_leaky_relu

KEY = jax.random.key(0)


@pytest.mark.parametrize(("shape", "zeros"), [((40, 7), 36), ((4, 9), 3), ((3, 3, 5, 6), 40), ((1, 2), 0)])
def test_a_share_of_every_units_inputs_is_zero(shape, zeros):
    kernel = np.asarray(sparse(0.9)(KEY, shape)).reshape(-1, shape[-1])
    assert ((kernel == 0).sum(axis=0) == zeros).all()
    assert (np.abs(kernel) <= len(kernel) ** -0.5).all()
    assert kernel.min() < 0 < kernel.max()
    if zeros > 10:
        assert len({tuple(column) for column in (kernel == 0).T}) > 1  # not the same inputs for every unit


def test_values_are_uniform():
    kernel = np.asarray(sparse(0.0)(KEY, (100, 100)))
    np.testing.assert_allclose(kernel.std(), 0.1 / 3**0.5, rtol=0.03)


@pytest.mark.parametrize("sparsity", [-0.1, 1.0, float("nan")])
def test_a_bad_share_is_refused(sparsity):
    with pytest.raises(ValueError, match="`sparsity` must be at least 0 and below 1, got"):
        sparse(sparsity)


def test_features_are_normalized_and_then_rectified():
    x = jnp.asarray([[3.0, 5.0, 10.0]])
    normal = (np.asarray(x) - 6.0) / np.std(np.asarray(x))
    np.testing.assert_allclose(normalized_leaky_relu(x), np.where(normal > 0, normal, 0.01 * normal), rtol=1e-4)


def test_there_are_no_parameters_below_the_memory():
    memory = RTRL(model=RNN(cell=RTUCell(features=5, hidden_dim=4)))
    network = streaming_network(heads.VNetwork(), memory, features=(20,))
    inputs = Timestep(jnp.ones((2, 3, 6)), jnp.ones((2, 3, 4)), jnp.ones((2, 3)), jnp.zeros((2, 3), bool))
    params = network.init(KEY, inputs)["params"]
    assert set(params) == {"torso", "head"}
    assert (params["head"]["Dense_0"]["kernel"] == 0).sum() == 18
    assert network.input_shape(inputs) == (2, 11)  # observation, previous action, previous reward


def test_a_head_without_kernels_is_refused():
    with pytest.raises(TypeError, match="`head` must have a `kernel_init` to make sparse, got TwinContinuousQNetwork"):
        streaming_network(heads.TwinContinuousQNetwork())
