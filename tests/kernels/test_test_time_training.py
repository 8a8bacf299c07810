"""Linear models trained on a sequence, against gradient descent step by step in double precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from memorax.kernels.test_time_training import Learner, LearnerState, LearnerSteps, learn_and_read

BATCH, TIME, HEADS, DIM, SIZE, EPS = 3, 14, 2, 5, 4, 1e-6
RESET = np.zeros((BATCH, TIME), bool)
RESET[0, [0, 3, 8, TIME - 1]] = True  # ends, inside of a chunk, and a border of chunks
RESET[1, [5, 6]] = True
START = np.array([0, 3, 2], np.int32)
"""Where the rows are in their mini-batches at first."""


def draw():
    rng = np.random.default_rng(3)

    def normal(*shape):
        return jnp.asarray(rng.normal(size=shape), jnp.float32)

    vectors = (normal(BATCH, TIME, HEADS, DIM) for _ in range(3))
    steps = LearnerSteps(*vectors, jax.nn.sigmoid(normal(BATCH, TIME, HEADS)))
    weights = normal(HEADS, DIM, DIM), normal(HEADS, DIM), 1 + 0.3 * normal(HEADS, DIM), normal(HEADS, DIM)
    learner = Learner(*weights, jnp.asarray([1.0, 0.7, 0.0, 0.4]))
    state = LearnerState(*(0.3 * normal(BATCH, HEADS, *shape) for shape in ((DIM, DIM), (DIM,), (DIM, DIM), (DIM,))))
    # A mini-batch that has not begun has no sum.
    begun = jnp.asarray(START > 0)
    return (
        steps,
        learner,
        state._replace(
            weight_update=state.weight_update * begun[:, None, None, None],
            bias_update=state.bias_update * begun[:, None, None],
        ),
    )


def count(reset):
    places, place = np.zeros(reset.shape, np.int32), START.copy()
    for t in range(reset.shape[1]):
        places[:, t] = place = np.where(reset[:, t], 0, place)
        place = (place + 1) % SIZE
    return places


def norm(z):
    return (z - z.mean()) / np.sqrt(z.var() + EPS)


def slope(z, target, scale, shift):
    """The gradient of the loss by `z`, by central differences."""

    def loss(z):
        return np.sum((norm(z) * scale + shift - target) ** 2) / 2

    small = 1e-5 * np.eye(DIM)
    return np.array([(loss(z + e) - loss(z - e)) / 2e-5 for e in small])


def descend(steps, learner, places, reset, state):
    """One weight matrix after the other."""
    steps, learner, state = jax.tree.map(lambda x: np.asarray(x, np.float64), (steps, learner, state))
    last, outputs = jax.tree.map(np.copy, state), np.zeros((BATCH, TIME, HEADS, DIM))
    for row in range(BATCH):
        for head in range(HEADS):
            scale, shift = learner.scale[head], learner.shift[head]
            learned = [part[row, head] for part in state]
            for t in range(TIME):
                query, key, value, rate = (part[row, t, head] for part in steps)
                if reset[row, t]:
                    learned = [np.zeros_like(part) for part in learned]
                weight, bias, weight_update, bias_update = learned
                weight, bias = learner.weight[head] + weight, learner.bias[head] + bias
                gradient = rate * slope(key @ weight + bias, value - key, scale, shift)
                weight_update, bias_update = weight_update + np.outer(key, gradient), bias_update + gradient
                share = learner.shares[places[row, t]]
                weight, bias = weight - share * weight_update, bias - share * bias_update
                outputs[row, t, head] = norm(query @ weight + bias) * scale + shift
                if places[row, t] == SIZE - 1:
                    added = weight - learner.weight[head], bias - learner.bias[head]
                    learned = [*added, np.zeros_like(weight), np.zeros_like(bias)]
                else:
                    learned = [*learned[:2], weight_update, bias_update]
            for part, now in zip(last, learned, strict=True):
                part[row, head] = now
    return last, outputs


@pytest.mark.parametrize("reset", [RESET, np.zeros_like(RESET)], ids=["resets", "whole"])
def test_equals_gradient_descent(reset):
    steps, learner, state = draw()
    places = count(reset)
    got = jax.jit(learn_and_read)(steps, learner, jnp.asarray(places), jnp.asarray(reset), state, eps=EPS)
    want = descend(steps, learner, places, reset, state)
    for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(x, y, rtol=0, atol=3e-6 * np.abs(y).max())


def test_nan_does_not_cross_a_reset():
    steps, learner, state = draw()
    arguments = learner, jnp.asarray(count(RESET)), jnp.asarray(RESET)
    run = jax.jit(lambda value, state: learn_and_read(steps._replace(value=value), *arguments, state)[1])
    want = run(steps.value, state)
    got = run(steps.value.at[0, 4].set(jnp.nan), jax.tree.map(lambda x: x.at[0].set(jnp.nan), state))
    assert np.isnan(got[0, 4:8]).all()
    np.testing.assert_array_equal(got[0, :4], want[0, :4])
    np.testing.assert_array_equal(got[0, 8:], want[0, 8:])
    np.testing.assert_array_equal(got[1:], want[1:])
