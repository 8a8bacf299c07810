"""Gradients of every memory model mapped over two axes, as over seeds and agents: XLA crashed on products of seven."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from memorax.networks.sequence_models import MODELS

FAST = {"agalite", "gru"}


@pytest.mark.parametrize(
    "name", [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in MODELS]
)
def test_two_axes_in_front_change_nothing(name):
    entry = MODELS.get(name)
    model = entry(features=4, **entry.example)
    inputs, done = jax.random.normal(jax.random.key(0), (2, 5, 4)), jnp.zeros((2, 5), bool)

    def loss(params, inputs):
        return jnp.sum(jnp.square(model.apply(params, inputs, done)[1]))

    params = jax.jit(model.init)(jax.random.key(1), inputs, done)
    alone = jax.jit(jax.grad(loss))(params, inputs)
    stacked = jax.tree.map(lambda x: jnp.broadcast_to(x, (2, 3, *x.shape)), (params, inputs))
    mapped = jax.jit(jax.vmap(jax.vmap(jax.grad(loss))))(*stacked)
    for one, many in zip(jax.tree.leaves(alone), jax.tree.leaves(mapped), strict=True):
        np.testing.assert_allclose(many[1, 2], one, rtol=1e-4, atol=1e-5 * max(1.0, float(jnp.abs(one).max())))
