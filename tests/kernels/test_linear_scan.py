from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from memorax.kernels.linear_scan import linear_scan

BATCH, TIME, UNITS = 3, 13, 5
METHODS = ("sequential", "blocked", "associative")
RESET = np.zeros((BATCH, TIME), bool)
RESET[0, [0, 4, 8, TIME - 1]] = True  # ends, and borders of blocks
RESET[1, [5, 6]] = True
CASES = [(pair, steady) for pair in (False, True) for steady in (False, True)]


def draw(pair, steady, length=TIME, wide=True, batch=BATCH):
    """Decays inside the unit circle, inputs, and a first state that is not zero."""
    rng = np.random.default_rng(11)
    shape = (UNITS,) if steady else (batch, length, UNITS)
    radius, angle = rng.uniform(0.5, 0.99, shape), rng.uniform(0, 3, shape)
    a = radius * np.exp(1j * angle) if pair else radius * np.sign(angle - 1)
    parts = 2 if pair else 1
    b = [rng.normal(size=(batch, length, UNITS if wide else 1)) for _ in range(parts)]
    h = [rng.normal(size=(batch, UNITS)) for _ in range(parts)]

    def pack(xs):
        return tuple(map(jnp.float32, xs)) if pair else jnp.float32(xs[0])

    return pack([a.real, a.imag]), pack(b), pack(h)


def as_complex(x):
    return np.asarray(x[0], float) + 1j * np.asarray(x[1], float) if isinstance(x, tuple) else np.asarray(x, complex)


def reference(a, b, reset, initial):
    """Step by step, in complex numbers of double precision."""
    a, b, h = map(as_complex, (a, b, initial))
    states = []
    for t in range(reset.shape[1]):
        h = np.where(reset[:, t, None], 0, h)
        h = (a if a.ndim == 1 else a[:, t]) * h + b[:, t]
        states.append(h)
    return np.stack(states, 1)


def plain(a, b, reset, initial):
    """The same with a scan that JAX differentiates."""

    def to_complex(x):
        return x[0] + 1j * x[1] if isinstance(x, tuple) else x

    ca, cb, h = map(to_complex, (a, b, initial))
    ca = jnp.broadcast_to(ca, jnp.broadcast_shapes(ca.shape, (*cb.shape[:2], 1)))

    def step(h, now):
        a, b, r = now
        h = a * jnp.where(r[:, None], 0, h) + b
        return h, h

    last, states = jax.lax.scan(step, h, (ca.swapaxes(0, 1), cb.swapaxes(0, 1), reset.T))

    def split(x):
        return (x.real, x.imag) if isinstance(a, tuple) else x

    return split(last), split(states.swapaxes(0, 1))


def error(got, want):
    return np.max(np.abs(got - want)) / max(1e-3, np.max(np.abs(want)))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("pair", "steady"), CASES)
def test_equals_the_definition(method, pair, steady):
    a, b, h = draw(pair, steady)
    last, states = jax.jit(partial(linear_scan, method=method))(a, b, jnp.asarray(RESET), h)
    want = reference(a, b, RESET, h)
    assert error(as_complex(states), want) < 2e-6
    assert error(as_complex(last), want[:, -1]) < 2e-6
    assert error(as_complex(states), reference(a, b, RESET & False, h)) > 0.1  # the resets matter


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("pair", "steady"), CASES)
def test_gradients_equal_those_of_a_plain_scan(method, pair, steady):
    arguments = draw(pair, steady, wide=False)

    def loss(scan, a, b, h):
        last, states = scan(a, b, jnp.asarray(RESET), h)
        leaves = [*jax.tree.leaves(last), *jax.tree.leaves(states)]
        return sum(jnp.sum(jnp.sin((2 + i) * x)) for i, x in enumerate(leaves))

    got = jax.jit(jax.grad(partial(loss, partial(linear_scan, method=method)), (0, 1, 2)))(*arguments)
    want = jax.jit(jax.grad(partial(loss, plain), (0, 1, 2)))(*arguments)
    for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert x.shape == y.shape
        assert error(x, y) < 1e-5


@pytest.mark.parametrize("method", METHODS)
def test_nan_does_not_cross_a_reset(method):
    a, b, h = draw(pair=True, steady=False)
    reset = jnp.asarray(RESET)

    def poison(x):
        return tuple(y.at[0, 2].set(jnp.nan) for y in x)

    run = jax.jit(lambda a, b, h: linear_scan(a, b, reset, h, method=method)[1])
    want = run(a, b, h)
    bad = tuple(y.at[0].set(jnp.nan) for y in h)
    for got, good in zip(run(poison(a), poison(b), bad), want, strict=True):
        np.testing.assert_array_equal(got[0, 4:], good[0, 4:])
        np.testing.assert_array_equal(got[1:], good[1:])
        assert np.isnan(got[0, 2:4]).all()
    # Backward: the gradient of the episode before does not see the NaN behind the reset.
    late = tuple(y.at[0, 5].set(jnp.nan) for y in a)

    def loss(a):
        return sum(jnp.sum(x) for x in linear_scan(a, b, reset, h, method=method)[1])

    for got in jax.jit(jax.grad(loss))(late):
        assert np.isfinite(got[0, :4]).all()
        assert np.isfinite(got[1:]).all()


@pytest.mark.parametrize("steady", [False, True])
def test_one_step_is_a_step_and_has_a_forward_derivative(steady):
    a, b, h = draw(pair=True, steady=steady, length=1)
    reset = jnp.asarray(RESET[:, 4:5])
    _, states = linear_scan(a, b, reset, h)
    assert error(as_complex(states), reference(a, b, RESET[:, 4:5], h)) < 1e-6
    _, tangent = jax.jvp(lambda h: linear_scan(a, b, reset, h)[0], (h,), (h,))
    assert all(np.all(np.asarray(x[0]) == 0) and np.any(x[1:] != 0) for x in tangent)
    assert "while" not in jax.jit(lambda h: linear_scan(a, b, reset, h)).lower(h).as_text()


def test_steady_decays_are_never_repeated_over_time():
    a, b, h = draw(pair=False, steady=True, length=512, batch=7)
    reset = jnp.zeros((7, 512), bool)

    def loss(a, b, h):
        return jnp.sum(jnp.square(linear_scan(a, b, reset, h, method="sequential")[1]))

    compiled = jax.jit(jax.grad(loss, (0, 1, 2))).lower(a, b, h).compile()
    # The states, their gradient, and the layout of each: four arrays, none of them of decays.
    assert compiled.memory_analysis().temp_size_in_bytes < 5.2 * b.nbytes
    kept = jax.tree.leaves(jax.vjp(loss, a, b, h)[1])
    assert sum(x.size >= b.size for x in kept) <= 2


def test_carries_keep_their_type():
    a, b, h = draw(pair=False, steady=True)
    last, states = linear_scan(a, b, jnp.asarray(RESET), h.astype(jnp.bfloat16))
    assert last.dtype == jnp.bfloat16
    assert states.dtype == jnp.float32


def test_unknown_method_is_refused():
    a, b, h = draw(pair=False, steady=True)
    with pytest.raises(
        ValueError, match=r"`method` must be one of sequential, blocked, associative, pallas or None, got 'fast'"
    ):
        linear_scan(a, b, jnp.asarray(RESET), h, method="fast")


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_stays_exact_over_65536_steps(method):
    length = 65_536
    a, b, h = draw(pair=True, steady=True, length=length, batch=2)
    reset = np.zeros((2, length), bool)
    reset[0, [1000, 40_000]] = True
    a = tuple(x / jnp.hypot(*a) * 0.995 for x in a)

    def run(a, b, h):
        return linear_scan(a, b, jnp.asarray(reset), h, method=method)[1]

    assert error(as_complex(jax.jit(run)(a, b, h)), reference(a, b, reset, h)) < 1e-5
    gradient = jax.jit(jax.grad(lambda *z: sum(jnp.sum(x) for x in run(*z)), (0, 1, 2)))(a, b, h)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(gradient))
