import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from tests.assertions import assert_equal

from memorax.core.devices import ENVS, SEEDS, by_rows, row_devices, split_rows
from memorax.learning.dropout import dropout
from memorax.learning.unroll import apply_with_losses
from memorax.networks.blocks import FFN, MoE

MESH = Mesh(np.array(jax.devices()[:2]).reshape(1, 2), (SEEDS, ENVS), axis_types=(AxisType.Auto, AxisType.Auto))
ROWS = NamedSharding(MESH, PartitionSpec(ENVS))


def inside(function, *args):
    """Compile and call in a program for two devices."""
    with jax.set_mesh(MESH):
        return jax.jit(function)(*args)


def seen(function):
    """A function, and the numbers of rows that it was traced for."""
    rows = []

    def call(shared, x):
        rows.append(x.shape[0])
        return function(shared, x)

    return call, rows


def test_outside_of_a_mesh_nothing_is_split():
    call, rows = seen(lambda shared, x: shared * x)
    assert row_devices() == 1
    assert split_rows({"x": 1}) == {"x": 1}
    assert_equal(jax.jit(lambda x: by_rows(call, jnp.float32(2.0), x))(jnp.arange(4.0)), 2.0 * jnp.arange(4.0))
    assert rows == [4]


def test_each_device_computes_its_own_rows():
    call, rows = seen(lambda shared, x: {"product": x @ shared, "shared": shared, "sum": jnp.sum(shared)})
    x, kernel = jnp.arange(24.0).reshape(8, 3), jnp.arange(6.0).reshape(3, 2)
    found = inside(lambda kernel, x: by_rows(call, kernel, x), kernel, x)
    assert_equal(found, {"product": x @ kernel, "shared": kernel, "sum": jnp.sum(kernel)})
    assert rows[-1] == 4
    assert found["product"].sharding.is_equivalent_to(ROWS, 2)


def test_gradients_of_what_is_shared_are_summed_over_devices():
    x, kernel = jnp.arange(24.0).reshape(8, 3), jnp.arange(6.0).reshape(3, 2)

    def loss(kernel, x):
        return jnp.mean(jnp.sin(by_rows(lambda kernel, x: x @ kernel, kernel, x)))

    np.testing.assert_allclose(inside(jax.grad(loss), kernel, x), jax.grad(loss)(kernel, x), rtol=1e-5)


def test_rows_that_cannot_be_divided_are_computed_together():
    call, rows = seen(lambda shared, x: shared + x)
    assert_equal(inside(lambda x: by_rows(call, jnp.float32(1.0), x), jnp.arange(3.0)), jnp.arange(3.0) + 1.0)
    assert rows == [3]


def test_what_is_learned_from_at_once_must_be_divided():
    with pytest.raises(ValueError, match=r"`devices` must divide what is learned from at once, 3 sequences, got 2 for"):
        inside(split_rows, jnp.arange(3.0))
    found = inside(lambda x: split_rows(x.take(jnp.array([5, 0, 3, 1]))), jnp.arange(6.0))
    assert_equal(found, jnp.array([5.0, 0.0, 3.0, 1.0]))
    assert found.sharding.is_equivalent_to(ROWS, 1)


class Applied:
    """A module as `apply_with_losses` is given one; counts the rows that it was traced for."""

    def __init__(self, module):
        self.module, self.rows = module, []

    def apply(self, params, x, **kwargs):
        self.rows.append(x.shape[0])
        return self.module.apply(params, x, **kwargs)


class Dropping(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dropout(0.5, deterministic=not self.has_rng("dropout"))(nn.Dense(3)(x))


@pytest.mark.parametrize(
    ("module", "rows"),
    [
        (nn.Dense(3), 4),  # although there is a stream, nobody asks for it
        (Dropping(), 8),
        (MoE(FFN(3), num_experts=2, top_k=1, balance_coefficient=0.1), 8),
    ],
    ids=["dense", "dropout", "mixture of experts"],
)
def test_what_rows_decide_together_does_not_depend_on_devices(module, rows, key):
    x = jax.random.normal(key, (8, 2, 3))
    params = module.init(key, x)
    params = {"params": params["params"]}
    network = Applied(module)

    def run(params, x):
        with dropout(jax.random.key(1)):
            return apply_with_losses(network, params, x)

    wanted = run(params, x)
    found = inside(run, params, x)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6), found, wanted)
    assert network.rows[-1] == rows
