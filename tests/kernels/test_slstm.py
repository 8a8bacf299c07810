import jax
import jax.numpy as jnp
import numpy as np
import pytest

from memorax.kernels import slstm as kernel
from memorax.kernels.slstm import State, initial_state, slstm

BATCH, TIME, HEADS, DIM = 3, 9, 2, 5
RESET = np.zeros((BATCH, TIME), bool)
RESET[0, [0, 4, 5]] = True
RESET[2, TIME - 1] = True


def draw(time=TIME, scale=1.0, seed=0):
    keys = jax.random.split(jax.random.key(seed), 2)
    gates = scale * jax.random.normal(keys[0], (BATCH, time, HEADS, 4 * DIM))
    return gates, 0.5 * jax.random.normal(keys[1], (HEADS, DIM, 4 * DIM))


def started():
    """A state that has seen something."""
    gates, recurrent = draw(4, seed=1)
    return slstm(gates, recurrent, jnp.zeros((BATCH, 4), bool), initial_state(BATCH, HEADS * DIM))[0]


def reference(gates, recurrent, reset, state):
    """Go step by step in float64, without a stabilizer."""
    gates, recurrent = np.asarray(gates, float), np.asarray(recurrent, float)
    c, n, h, m = (np.asarray(part, float).reshape(BATCH, HEADS, DIM) for part in state)
    c, n = c * np.exp(m), n * np.exp(m)
    outputs = []
    for t in range(gates.shape[1]):
        c, n, h = (np.where(reset[:, t, None, None], 0, part) for part in (c, n, h))
        i, f, z, o = np.split(gates[:, t] + np.einsum("bhd,hdg->bhg", h, recurrent), 4, axis=-1)
        f, o = 1 / (1 + np.exp(-f)), 1 / (1 + np.exp(-o))
        c, n = f * c + np.exp(i) * np.tanh(z), f * n + np.exp(i)
        h = o * c / n
        outputs.append(h)
    return (c, n, h), np.stack(outputs, axis=1)


def plain(gates, recurrent, reset, state):
    """Go step by step, with the derivatives that come with it."""
    outputs = []
    for t in range(gates.shape[1]):
        state, output = slstm(gates[:, t : t + 1], recurrent, reset[:, t : t + 1], state)
        outputs.append(output)
    return state, jnp.concatenate(outputs, axis=1)


def check(function=slstm):
    gates, recurrent = draw()
    for state in (started(), initial_state(BATCH, HEADS * DIM)._replace(stabilizer=jnp.full((BATCH, 10), -70.0))):
        got, outputs = function(gates, recurrent, jnp.asarray(RESET), state)
        want, expected = reference(gates, recurrent, RESET, state)
        np.testing.assert_allclose(outputs, expected, rtol=0, atol=1e-6)
        scale = np.exp(np.asarray(got.stabilizer, float))
        for a, b in zip((got.cell * scale, got.normalizer * scale, got.hidden), want, strict=True):
            np.testing.assert_allclose(a, b.reshape(BATCH, -1), rtol=1e-5, atol=1e-6)


def test_equals_the_definition():
    check()
    check(plain)


def test_the_state_is_the_same_however_the_sequence_is_cut():
    gates, recurrent = draw()
    want, outputs = slstm(gates, recurrent, jnp.asarray(RESET), started())
    got, steps = plain(gates, recurrent, jnp.asarray(RESET), started())
    np.testing.assert_allclose(steps, outputs, rtol=0, atol=1e-6)
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)


def check_gradients(reset=RESET):
    gates, recurrent = draw()
    before = started()

    def gradient(function):
        def loss(gates, recurrent, state):
            state = State(*state, before.stabilizer)
            state, outputs = function(gates, recurrent, jnp.asarray(reset), state)
            return jnp.sum(jnp.sin(3 * outputs)) + sum(jnp.sum(jnp.cos(x)) for x in state[:3])

        return jax.jit(jax.grad(loss, (0, 1, 2)))(gates, recurrent, tuple(before[:3]))

    for a, b in zip(jax.tree.leaves(gradient(slstm)), jax.tree.leaves(gradient(plain)), strict=True):
        assert np.any(b != 0)
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)


def test_gradients_equal_those_of_steps():
    check_gradients()


def test_the_stabilizer_has_no_gradient_that_matters():
    """Scaling `c` and `n` by a change of `m` leaves the outputs alone: leaving out the gradient of `m` is exact."""
    gates, recurrent = draw()
    state = started()
    moved = State(state.cell * np.exp(-2.0), state.normalizer * np.exp(-2.0), state.hidden, state.stabilizer + 2.0)
    want, got = (slstm(gates, recurrent, jnp.asarray(RESET), s)[1] for s in (state, moved))
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-6)


def test_large_gates_stay_finite():
    gates, recurrent = draw(scale=200.0)
    state, outputs = slstm(gates, recurrent, jnp.asarray(RESET), initial_state(BATCH, HEADS * DIM))
    assert np.all(np.isfinite(outputs))
    assert np.all(state.normalizer >= 1)
    gradient = jax.grad(lambda g: jnp.sum(slstm(g, recurrent, jnp.asarray(RESET), started())[1]))(gates)
    assert np.all(np.isfinite(gradient))


def test_nothing_crosses_a_reset():
    gates, recurrent = draw()
    _, want = slstm(gates, recurrent, jnp.asarray(RESET), started())
    poison = jax.tree.map(lambda x: x.at[0].set(jnp.nan), started())
    for function in (slstm, plain):
        _, got = function(gates.at[0, 2].set(jnp.nan), recurrent, jnp.asarray(RESET), poison)
        assert np.all(np.isnan(got[0, 3]))
        np.testing.assert_allclose(got[0, 4:], want[0, 4:], rtol=0, atol=1e-6)
        np.testing.assert_allclose(got[1:], want[1:], rtol=0, atol=1e-6)


def test_a_step_has_forward_derivatives():
    gates, recurrent = draw(1)
    reset = jnp.zeros((BATCH, 1), bool)
    _, tangent = jax.jvp(lambda g: slstm(g, recurrent, reset, started())[1], (gates,), (jnp.ones_like(gates),))
    assert np.all(np.isfinite(tangent))
    assert np.any(tangent != 0)


def test_a_mutant_is_found(monkeypatch):
    select, step = kernel._select, kernel._step
    with monkeypatch.context() as patch:  # keeps the stabilizer where an episode ends
        patch.setattr(kernel, "_select", lambda r, s: select(r, s)._replace(stabilizer=s.stabilizer))
        with pytest.raises(AssertionError):
            test_the_state_forgets_its_scale()
    with monkeypatch.context() as patch:  # keeps what was said before
        patch.setattr(kernel, "_select", lambda r, s: select(r, s)._replace(hidden=s.hidden))
        with pytest.raises(AssertionError):
            check()
    with monkeypatch.context() as patch:  # a slope too small

        def wrong(*arguments):
            state, memo = step(*arguments)
            return state, memo._replace(forget=0.5 * memo.forget)

        patch.setattr(kernel, "_step", wrong)
        with pytest.raises(AssertionError):
            check_gradients()


def test_the_state_forgets_its_scale():
    """A large stabilizer of one episode does not weigh on the next: what it writes is not lost in zeros."""
    gates, recurrent = draw()
    heavy = started()._replace(stabilizer=jnp.full((BATCH, HEADS * DIM), 300.0))
    reset = jnp.asarray(RESET).at[:, 0].set(True)
    for function in (slstm, plain):
        state, outputs = function(gates, recurrent, reset, heavy)
        assert np.all(np.isfinite(outputs))
        assert np.all(np.abs(state.stabilizer) < 20)


@pytest.mark.slow
def test_gradients_are_finite_after_65536_steps():
    gates, recurrent = draw(65_536)
    reset = jnp.zeros((1, 65_536), bool).at[0, 40_000].set(True)

    def loss(gates, recurrent):
        return jnp.sum(slstm(gates, recurrent, reset, initial_state(1, HEADS * DIM))[1])

    for leaf in jax.jit(jax.grad(loss, (0, 1)))(gates[:1], recurrent):
        assert np.all(np.isfinite(leaf))
        assert np.any(leaf != 0)
