"""Gradients of memory models whose gates are driven far into saturation, as can happen in training."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from memorax.networks.sequence_models import MODELS

FEATURES = 8


def gradients(name, length, parameter_scale, input_scale):
    model = MODELS.get(name)(FEATURES)
    key = jax.random.key(0)
    inputs = input_scale * jax.random.normal(key, (2, length, FEATURES))
    done = jnp.zeros((2, length), bool).at[0, 3].set(True)
    leaves, tree = jax.tree.flatten(jax.jit(model.init)(key, inputs[:, :2], done[:, :2]))
    keys = jax.random.split(jax.random.key(1), len(leaves))
    leaves = [parameter_scale * (x + 0.1 * jax.random.normal(k, x.shape)) for x, k in zip(leaves, keys, strict=True)]

    def loss(params, inputs):
        return jnp.sum(jnp.sin(model.apply(params, inputs, done)[1]))

    return jax.jit(jax.grad(loss, (0, 1)))(jax.tree.unflatten(tree, leaves), inputs)


@pytest.mark.parametrize(
    ("name", "length", "parameter_scale", "input_scale"),
    [
        ("mlstm", 37, 30, 1),
        ("mlstm", 37, 1, 1000),
        ("mlstm", 37, 10, 10),
        ("mamba", 65, 30, 1),
        ("mamba", 2049, 30, 1),
    ],
)
def test_gradients_stay_finite(name, length, parameter_scale, input_scale):
    got = gradients(name, length, parameter_scale, input_scale)
    broken = [path for path, x in jax.tree_util.tree_leaves_with_path(got) if not np.isfinite(x).all()]
    assert not broken
