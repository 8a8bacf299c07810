"""Recurrences that are a line each, against that line in double precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from memorax.networks.sequence_models import MGU, IndRNN

INPUTS, DONE = jax.random.normal(jax.random.key(0), (2, 7, 3)), np.zeros((2, 7), bool)
DONE[0, 4] = True


def initialized(model):
    params = jax.jit(model.init)(jax.random.key(1), INPUTS, jnp.asarray(DONE))
    params = jax.tree.map(lambda x: x + 0.3 * jnp.sin(jnp.arange(x.size, dtype=x.dtype).reshape(x.shape)), params)
    cell = jax.tree.map(lambda x: np.asarray(x, np.float64), params["params"]["cell"])
    return params, cell


def run(step, width):
    h, outputs = np.zeros((2, width)), []
    for t in range(INPUTS.shape[1]):
        h = step(np.asarray(INPUTS[:, t], np.float64), np.where(DONE[:, t, None], 0, h))
        outputs.append(h)
    return np.stack(outputs, 1)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize(("activation", "function"), [("relu", lambda x: np.maximum(x, 0)), ("tanh", np.tanh)])
def test_indrnn(activation, function):
    model = IndRNN(4, activation=activation, bound=0.6)
    params, p = initialized(model)
    weight = np.clip(p["recurrent"], -0.6, 0.6)
    assert (weight != p["recurrent"]).any()
    dense = p["input"]
    want = run(lambda x, h: function(x @ dense["kernel"] + dense["bias"] + weight * h), 4)
    np.testing.assert_allclose(model.apply(params, INPUTS, jnp.asarray(DONE))[1], want, atol=1e-6)


def test_recurrent_weight_of_indrnn_above_its_bound_can_come_back():
    model = IndRNN(4, bound=0.01)
    params, _ = initialized(model)
    gradient = jax.jit(jax.grad(lambda p: jnp.sum(model.apply(p, INPUTS, jnp.asarray(DONE))[1])))(params)
    assert float(jnp.max(jnp.abs(gradient["params"]["cell"]["recurrent"]))) > 0


def test_mgu():
    model = MGU(4)
    params, p = initialized(model)

    def step(x, h):
        forget = sigmoid(x @ p["if"]["kernel"] + p["if"]["bias"] + h @ p["hf"]["kernel"])
        recurrent = forget * (h @ p["hn"]["kernel"] + p["hn"]["bias"])
        candidate = np.tanh(x @ p["in"]["kernel"] + p["in"]["bias"] + recurrent)
        return (1 - forget) * candidate + forget * h

    np.testing.assert_allclose(model.apply(params, INPUTS, jnp.asarray(DONE))[1], run(step, 4), atol=1e-6)
