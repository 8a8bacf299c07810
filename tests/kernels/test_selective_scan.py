from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from memorax.kernels.selective_scan import selective_scan

BATCH, TIME, CHANNELS, STATES, CHUNK = 3, 11, 32, 5, 4
RESET = np.zeros((BATCH, TIME), bool)
RESET[0, [0, 4, 8, TIME - 1]] = True  # ends, and borders of chunks
RESET[1, [5, 6]] = True


def draw(length=TIME, batch=BATCH, channels=CHANNELS):
    rng = np.random.default_rng(5)
    shapes = [(channels,), (channels,), (STATES,), (STATES,)]
    x, steps, writes, reads = (rng.normal(size=(batch, length, *shape)) for shape in shapes)
    rates = -rng.uniform(0.1, 2, (STATES, channels))
    first = rng.normal(size=(batch, STATES, channels))
    return jax.tree.map(jnp.float32, ((x, np.log1p(np.exp(steps)), writes, reads), rates, first))


def reference(sequence, rates, reset, first):
    """Step by step, in double precision."""
    x, steps, writes, reads = (np.asarray(y, float) for y in sequence)
    h, outputs = np.asarray(first, float), []
    for t in range(reset.shape[1]):
        h = np.where(reset[:, t, None, None], 0, h)
        h = np.exp(steps[:, t, None] * np.asarray(rates, float)) * h
        h = h + (steps[:, t] * x[:, t])[:, None] * writes[:, t, :, None]
        outputs.append(np.einsum("bne,bn->be", h, reads[:, t]))
    return h, np.stack(outputs, 1)


def plain(sequence, rates, reset, first):
    """The same with a scan that JAX differentiates."""

    def step(h, now):
        (x, dt, b, c), r = now
        h = jnp.where(r[:, None, None], 0, h)
        h = jnp.exp(dt[:, None] * rates) * h + (dt * x)[:, None] * b[..., None]
        return h, jnp.einsum("bne,bn->be", h, c)

    last, outputs = jax.lax.scan(step, first, (tuple(y.swapaxes(0, 1) for y in sequence), reset.T))
    return last, outputs.swapaxes(0, 1)


def error(got, want):
    return np.max(np.abs(got - want)) / max(1e-3, np.max(np.abs(want)))


scan = partial(selective_scan, chunk=CHUNK)


@pytest.mark.parametrize("length", [1, 3, 8, TIME])
def test_equals_the_definition(length):
    sequence, rates, first = draw(length)
    last, outputs = jax.jit(scan)(sequence, rates, jnp.asarray(RESET[:, :length]), first)
    want_last, want = reference(sequence, rates, RESET[:, :length], first)
    assert error(outputs, want) < 2e-6
    assert error(last, want_last) < 2e-6
    assert error(outputs, reference(sequence, rates, RESET[:, :length] & False, first)[1]) > 0.1


@pytest.mark.parametrize("channels", [CHANNELS, 7])
def test_gradients_equal_those_of_a_plain_scan(channels):
    arguments = draw(channels=channels)

    def loss(run, sequence, rates, first):
        last, outputs = run(sequence, rates, jnp.asarray(RESET), first)
        return jnp.sum(jnp.sin(outputs)) + jnp.sum(jnp.cos(3 * last))

    got = jax.jit(jax.grad(partial(loss, scan), (0, 1, 2)))(*arguments)
    want = jax.jit(jax.grad(partial(loss, plain), (0, 1, 2)))(*arguments)
    for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert error(x, y) < 1e-5


def test_nan_does_not_cross_a_reset():
    sequence, rates, first = draw()
    x, *rest = sequence
    run = jax.jit(lambda x, first: scan((x, *rest), rates, jnp.asarray(RESET), first)[1])
    want = run(x, first)
    got = run(x.at[0, 2].set(jnp.nan), first.at[0].set(jnp.nan))
    np.testing.assert_array_equal(got[0, 4:], want[0, 4:])
    np.testing.assert_array_equal(got[1:], want[1:])
    assert np.isnan(got[0, 2]).all()


def test_states_of_all_steps_are_never_kept():
    sequence, rates, first = draw(512, 2, 64)
    reset = jnp.zeros((2, 512), bool)

    def loss(*arguments):
        return jnp.sum(jnp.square(selective_scan(arguments[0], arguments[1], reset, arguments[2])[1]))

    compiled = jax.jit(jax.grad(loss, (0, 1, 2))).lower(sequence, rates, first).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 2 * 512 * STATES * 64 * 4
    largest = max(x.size for x in jax.tree.leaves(jax.vjp(loss, sequence, rates, first)[1]))
    assert largest <= 2 * 512 * 64


def test_one_step_has_a_forward_derivative():
    sequence, rates, first = draw(1)
    _, tangent = jax.jvp(lambda h: scan(sequence, rates, jnp.asarray(RESET[:, :1]), h)[0], (first,), (first,))
    assert np.all(np.asarray(tangent[0]) == 0)
    assert np.any(np.asarray(tangent[1]) != 0)


@pytest.mark.slow
def test_stays_exact_over_65536_steps():
    length = 65_536
    sequence, rates, first = draw(length, 1, 3)
    reset = np.zeros((1, length), bool)
    reset[0, [1000, 40_000]] = True
    run = partial(selective_scan, reset=jnp.asarray(reset))
    last, outputs = jax.jit(lambda s, r, h: run(s, r, initial=h))(sequence, rates, first)
    want_last, want = reference(sequence, rates, reset, first)
    assert error(outputs, want) < 1e-5
    assert error(last, want_last) < 1e-5
    gradient = jax.jit(jax.grad(lambda s, r, h: jnp.sum(run(s, r, initial=h)[1]), (0, 1, 2)))(sequence, rates, first)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(gradient))
