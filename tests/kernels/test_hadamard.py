from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from memorax.kernels import hadamard
from memorax.kernels.hadamard import HadamardSteps, hadamard_memory

BATCH, TIME, ROWS, COLUMNS, CHUNK = 4, 11, 6, 5, 4
RESET = np.zeros((BATCH, TIME), bool)
RESET[0, [0, 4, 8, TIME - 1]] = True  # ends, and borders of chunks
RESET[1, [5, 6]] = True
CLIP = 1.5


def draw(length=TIME, batch=BATCH):
    keys = jax.random.split(jax.random.key(3), 6)
    widths = (ROWS, COLUMNS, ROWS, COLUMNS, COLUMNS)
    steps = HadamardSteps(*(jax.random.normal(k, (batch, length, w)) for k, w in zip(keys, widths, strict=False)))
    return steps, jax.random.normal(keys[5], (batch, ROWS, COLUMNS))


def plain(steps, reset, memory, clip=None):
    """The definition, with a scan that JAX differentiates."""

    def step(memory, now):
        (theta, calibration, value, key, query), reset = now
        memory = jnp.where(reset[:, None, None], 0, memory)
        memory = memory * (1 + jnp.tanh(theta[:, :, None] * calibration[:, None])) + value[:, :, None] * key[:, None]
        memory = memory if clip is None else jnp.clip(memory, -clip, clip)
        return memory, jnp.sum(memory * query[:, None], -1)

    last, read = jax.lax.scan(step, memory, (jax.tree.map(lambda x: x.swapaxes(0, 1), steps), reset.T))
    return last, read.swapaxes(0, 1)


def error(got, want):
    return np.max(np.abs(got - want)) / max(1e-3, np.max(np.abs(want)))


run = partial(hadamard_memory, chunk=CHUNK)


@pytest.mark.parametrize("clip", [None, CLIP])
@pytest.mark.parametrize("length", [1, 3, 8, TIME])
def test_equals_the_definition(length, clip):
    steps, memory = draw(length)
    reset = jnp.asarray(RESET[:, :length])
    last, read = jax.jit(partial(run, clip=clip))(steps, reset, memory)
    want_last, want = plain(steps, reset, memory, clip)
    assert error(read, want) < 1e-6
    assert error(last, want_last) < 1e-6
    assert error(read, plain(steps, reset & False, memory, clip)[1]) > 0.1


@pytest.mark.parametrize("clip", [None, CLIP])
@pytest.mark.parametrize("rows", [1, 2, BATCH])
def test_gradients_equal_those_of_a_plain_scan(monkeypatch, rows, clip):
    """However many rows of the batch are computed at a time."""
    monkeypatch.setattr(hadamard, "_ENTRIES", rows * ROWS * COLUMNS)
    arguments = draw()

    def loss(run, steps, memory):
        last, read = run(steps, jnp.asarray(RESET), memory, clip=clip)
        return jnp.sum(jnp.sin(read)) + jnp.sum(jnp.cos(3 * last))

    got = jax.jit(jax.grad(partial(loss, run), (0, 1)))(*arguments)
    want = jax.jit(jax.grad(partial(loss, plain), (0, 1)))(*arguments)
    for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert error(x, y) < 1e-6


def test_nan_does_not_cross_a_reset():
    steps, memory = draw()
    start = jax.jit(lambda value, memory: run(steps._replace(value=value), jnp.asarray(RESET), memory)[1])
    want = start(steps.value, memory)
    got = start(steps.value.at[0, 2].set(jnp.nan), memory.at[0].set(jnp.nan))
    np.testing.assert_array_equal(got[0, 4:], want[0, 4:])
    np.testing.assert_array_equal(got[1:], want[1:])
    assert np.isnan(got[0, 2]).all()


def test_matrices_of_all_steps_are_never_kept():
    steps, memory = draw(512, 2)
    reset = jnp.zeros((2, 512), bool)

    def loss(steps, memory):
        return jnp.sum(jnp.square(hadamard_memory(steps, reset, memory)[1]))

    largest = max(x.size for x in jax.tree.leaves(jax.vjp(loss, steps, memory)[1]))
    assert largest <= 2 * 512 * ROWS


def test_one_step_has_a_forward_derivative():
    steps, memory = draw(1)
    _, tangent = jax.jvp(lambda m: run(steps, jnp.asarray(RESET[:, :1]), m)[0], (memory,), (memory,))
    assert np.all(np.asarray(tangent[0]) == 0)
    assert np.any(np.asarray(tangent[1]) != 0)
