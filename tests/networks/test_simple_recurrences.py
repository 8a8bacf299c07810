"""Recurrences that are a line each, against that line in double precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from memorax.networks.sequence_models import BMRU, MGU, IndRNN

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


def thresholds(p, x):
    x = np.asarray(x, np.float64)
    candidate = x @ p["candidate_kernel"] + p["candidate_bias"]
    return candidate, np.abs(x @ p["threshold_kernel"] + p["threshold_bias"])


def test_bmru_is_a_schmitt_trigger():
    """In the form of the authors' circuits: states 0 and 1, set above one threshold and cleared below the other."""
    params, p = initialized(BMRU(6))
    high, want = np.full((2, 6), 0.5), []
    for t in range(INPUTS.shape[1]):
        high = np.where(DONE[:, t, None], 0.5, high)
        candidate, threshold = thresholds(p, INPUTS[:, t])
        sets, clears = candidate > threshold, candidate < -threshold
        high = sets + (1 - clears) * (1.0 - sets) * high
        want.append(p["level"] * (2 * high - 1))
    want = np.stack(want, 1)
    assert {-1.0, 0.0, 1.0} == set(np.sign(want).ravel())
    np.testing.assert_allclose(BMRU(6).apply(params, INPUTS, jnp.asarray(DONE))[1], want, atol=1e-6)


def test_gradient_of_bmru_takes_the_step_for_an_arc_tangent():
    model = BMRU(6, slope=0.7)
    params, p = initialized(model)
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(jnp.sin(model.apply(params, x, jnp.asarray(DONE))[1]))))(INPUTS)
    states = np.asarray(model.apply(params, INPUTS, jnp.asarray(DONE))[1], np.float64)
    want, g = np.zeros(INPUTS.shape), np.zeros((2, 6))
    for t in reversed(range(INPUTS.shape[1])):
        g += np.cos(states[:, t])
        x = np.asarray(INPUTS[:, t], np.float64)
        candidate, threshold = thresholds(p, x)
        slopes = [1 / (1 + (np.pi * 0.7 * (side * candidate - threshold)) ** 2) for side in (1, -1)]
        before = np.where(DONE[:, t, None], 0, states[:, t - 1] if t else 0)
        up, down = slopes[0] * (p["level"] - before) * g, slopes[1] * (-p["level"] - before) * g
        signs = np.sign(x @ p["threshold_kernel"] + p["threshold_bias"])
        want[:, t] = (up - down) @ p["candidate_kernel"].T - (signs * (up + down)) @ p["threshold_kernel"].T
        g = np.where(DONE[:, t, None], 0, g * (np.abs(candidate) <= threshold))
    np.testing.assert_allclose(gradient, want, atol=1e-5)


def test_bmru_keeps_its_state_as_long_as_inputs_are_weak():
    model, never = BMRU(6), jnp.zeros((2, 5_000), bool)
    params, _ = initialized(model)
    cell = params["params"]["cell"]
    cell["candidate_bias"], cell["threshold_bias"] = jnp.zeros(6), jnp.full(6, 0.1)
    carry = jnp.asarray([[1.0, -1.0, 1.0, -1.0, 1.0, -1.0], [-1.0, 1.0, 1.0, 0.0, -1.0, -1.0]]) * cell["level"]
    inputs = jax.random.normal(jax.random.key(2), (2, 5_000, 3))
    np.testing.assert_array_equal(model.apply(params, 1e-3 * inputs, never, carry)[0], carry)
    assert (model.apply(params, inputs, never, carry)[0] != carry).any()
