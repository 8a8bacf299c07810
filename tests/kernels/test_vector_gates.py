from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from memorax.kernels.delta_rule import DeltaSteps, delta_rule
from memorax.kernels.linear_attention import LinearSteps, linear_attention
from memorax.kernels.vector_gates import GatedSteps, gated_memory

BATCH, TIME, HEADS, KEY, VALUE, CHUNK = 3, 11, 2, 4, 5, 4
RESET = np.zeros((BATCH, TIME), bool)
RESET[0, [0, 4, 8, TIME - 1]] = True  # ends, and borders of chunks
RESET[1, [5, 6]] = True


def draw(length=TIME, *, erase=True, decay=1.0):
    keys = jax.random.split(jax.random.key(2), 6)
    shape = (BATCH, length, HEADS)
    query, key, value = (jax.random.normal(k, (*shape, n)) for k, n in zip(keys, (KEY, KEY, VALUE), strict=False))
    key = key / jnp.linalg.norm(key, axis=-1, keepdims=True)
    log_decay = -decay * jax.random.exponential(keys[3], (*shape, KEY))
    gate = jax.random.uniform(keys[4], (*shape, KEY), maxval=2.0)
    state = jax.random.normal(keys[5], (BATCH, HEADS, KEY, VALUE))
    return GatedSteps(query, key, value, log_decay, gate * key if erase else None), state


def plain(steps, reset, state):
    """The definition, with a scan that JAX differentiates."""

    def step(state, now):
        (query, key, value, log_decay, erase), reset = now
        state = jnp.where(reset[:, None, None, None], 0, state) * jnp.exp(log_decay)[..., None]
        if erase is not None:
            value = value - jnp.einsum("bhnp,bhn->bhp", state, erase)
        state = state + jnp.einsum("bhn,bhp->bhnp", key, value)
        return state, jnp.einsum("bhnp,bhn->bhp", state, query)

    last, outputs = jax.lax.scan(step, state, (jax.tree.map(lambda x: x.swapaxes(0, 1), steps), reset.T))
    return last, outputs.swapaxes(0, 1)


def error(got, want):
    return np.max(np.abs(got - want)) / max(1e-3, np.max(np.abs(want)))


run = partial(gated_memory, chunk=CHUNK)


@pytest.mark.parametrize("erase", [True, False])
@pytest.mark.parametrize("length", [1, 3, 8, TIME])
def test_equals_the_definition(length, erase):
    steps, state = draw(length, erase=erase)
    reset = jnp.asarray(RESET[:, :length])
    last, outputs = jax.jit(run)(steps, reset, state)
    want_last, want = plain(steps, reset, state)
    assert error(outputs, want) < 2e-6
    assert error(last, want_last) < 2e-6
    assert error(outputs, plain(steps, reset & False, state)[1]) > 0.1


@pytest.mark.parametrize("erase", [True, False])
@pytest.mark.parametrize("decay", [0.1, 100.0])
def test_gradients_equal_those_of_a_plain_scan(erase, decay):
    """However fast the memory decays."""
    arguments = draw(erase=erase, decay=decay)

    def loss(run, steps, state):
        last, outputs = run(steps, jnp.asarray(RESET), state)
        return jnp.sum(jnp.sin(outputs)) + jnp.sum(jnp.cos(3 * last))

    got = jax.jit(jax.grad(partial(loss, run), (0, 1)))(*arguments)
    want = jax.jit(jax.grad(partial(loss, plain), (0, 1)))(*arguments)
    for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        assert error(x, y) < 1e-5


def test_one_decay_for_all_dimensions_is_linear_attention():
    steps, state = draw(erase=False)
    one = steps.log_decay[..., :1]
    steps = steps._replace(log_decay=jnp.broadcast_to(one, steps.log_decay.shape))
    want = linear_attention(LinearSteps(*steps[:3], one[..., 0]), jnp.asarray(RESET), state)
    for x, y in zip(run(steps, jnp.asarray(RESET), state), want, strict=True):
        assert error(x, y) < 2e-6


def test_one_gate_and_one_decay_is_the_delta_rule():
    steps, state = draw()
    one, beta = steps.log_decay[..., :1], jnp.abs(jnp.sin(steps.value[..., :1]))
    gated = steps._replace(
        value=beta * steps.value,
        log_decay=jnp.broadcast_to(one, steps.log_decay.shape),
        erase=beta * steps.key,
    )
    want = delta_rule(DeltaSteps(*steps[:3], beta[..., 0], one[..., 0]), jnp.asarray(RESET), state)
    for x, y in zip(run(gated, jnp.asarray(RESET), state), want, strict=True):
        assert error(x, y) < 2e-6


def test_nan_does_not_cross_a_reset():
    steps, state = draw()
    start = jax.jit(lambda value, state: run(steps._replace(value=value), jnp.asarray(RESET), state)[1])
    want = start(steps.value, state)
    got = start(steps.value.at[0, 2].set(jnp.nan), state.at[0].set(jnp.nan))
    np.testing.assert_array_equal(got[0, 4:], want[0, 4:])
    np.testing.assert_array_equal(got[1:], want[1:])
    assert np.isnan(got[0, 2:4]).all()
