import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.kernels.matrix_states import (
    BATCH,
    CHUNK,
    HEADS,
    KEYS,
    TIME,
    VALUES,
    by_steps,
    difference,
    draw,
    gradient_bytes,
    in_double_precision,
    resets,
    steep,
    with_gradients,
)

from memorax.kernels import chunks
from memorax.kernels import delta_rule as module
from memorax.kernels.delta_rule import DeltaSteps, delta_rule, invert_unit_lower

EACH = (BATCH, TIME, HEADS)


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def problem(*, decays=True):
    made = draw(5, query=(*EACH, KEYS), key=(*EACH, KEYS), value=(*EACH, VALUES), log_decay=EACH)
    made |= draw(6, state=(BATCH, HEADS, KEYS, VALUES))
    state = made.pop("state")
    made["key"] = unit(made["key"])
    made["log_decay"] = -0.2 * np.abs(made["log_decay"]) if decays else None
    made["beta"] = np.random.default_rng(7).uniform(0, 2, EACH).astype(np.float32)
    return DeltaSteps(**jax.tree.map(jnp.asarray, made)), jnp.asarray(state)


def reference(steps, reset, state):
    """The definition in float64."""
    query, key, value, beta, log_decay = jax.tree.map(lambda x: np.asarray(x, float), steps)
    state, outputs = np.array(state, float), np.zeros(value.shape)
    for t in range(TIME):
        state[reset[:, t]] = 0
        if log_decay is not None:
            state = state * np.exp(log_decay[:, t, :, None, None])
        old = np.einsum("bhnp,bhn->bhp", state, key[:, t])
        new = beta[:, t, :, None] * (value[:, t] - old)
        state = state + key[:, t, :, :, None] * new[:, :, None]
        outputs[:, t] = np.einsum("bhnp,bhn->bhp", state, query[:, t])
    return state, outputs


chunked = with_gradients(functools.partial(delta_rule, chunk=CHUNK), resets())


@pytest.mark.parametrize("decays", [True, False])
def test_chunks_equal_the_definition_and_single_steps(decays):
    steps, state = problem(decays=decays)
    (_, got), gradients = chunked(steps, state)
    (_, want), want_gradients = with_gradients(by_steps(delta_rule), resets())(steps, state)
    assert difference(got, reference(steps, resets(), state)) < 2e-6
    assert difference(got, want) < 2e-6
    assert difference(gradients, want_gradients) < 1e-4


def test_an_overwritten_key_stands_for_the_new_value_only():
    key = unit(draw(1, key=(1, 1, HEADS, KEYS))["key"])
    keys = jnp.asarray(np.repeat(key, 2, axis=1))
    value = jnp.asarray(draw(2, value=(1, 2, HEADS, VALUES))["value"])
    steps = DeltaSteps(keys, keys, value, jnp.ones((1, 2, HEADS)))
    for chunk in (1, 2):
        fresh = jnp.zeros((1, HEADS, KEYS, VALUES))
        _, read = jax.jit(functools.partial(delta_rule, chunk=chunk))(steps, jnp.zeros((1, 2), bool), fresh)
        np.testing.assert_allclose(read, value, atol=1e-6)


@pytest.mark.parametrize("steps", [1, 7, 33])
def test_inverse_of_overlapping_keys(steps):
    rng = np.random.default_rng(steps)
    keys = unit(np.sqrt(0.9) * unit(rng.normal(size=16)) + np.sqrt(0.1) * unit(rng.normal(size=(3, steps, 16))))
    beta = rng.uniform(0, 2, (3, steps, 1))
    strict = np.tril(beta * np.einsum("btn,bsn->bts", keys, keys), -1)
    want = np.linalg.inv(np.eye(steps) + strict)
    assert difference(jax.jit(invert_unit_lower)(jnp.asarray(strict, jnp.float32)), want) < 1e-5


def test_gradient_of_the_inverse():
    with jax.enable_x64(True):
        strict = jnp.tril(jnp.asarray(np.random.default_rng(0).normal(size=(5, 5))), -1)
        along = jnp.tril(jnp.asarray(np.random.default_rng(1).normal(size=(5, 5))), -1)
        got = jax.jit(jax.grad(lambda x: jnp.sum(jnp.sin(invert_unit_lower(x)))))(strict)
        size = 1e-6
        up, down = (np.sin(np.linalg.inv(np.eye(5) + strict + sign * size * along)).sum() for sign in (1, -1))
        np.testing.assert_allclose(jnp.sum(got * along), (up - down) / (2 * size), rtol=1e-7)


def test_nothing_crosses_a_reset_forwards_or_backwards():
    steps, state = problem()
    (_, (_, want)), _ = chunked(steps, state)
    broken = steps._replace(key=steps.key.at[0, 2].set(jnp.nan), beta=steps.beta.at[1, 3, 1].set(jnp.inf))
    (_, (_, got)), gradients = chunked(broken, state.at[0].set(jnp.nan))
    np.testing.assert_array_equal(got[0, 3:], want[0, 3:])
    np.testing.assert_array_equal(got[1, CHUNK:], want[1, CHUNK:])
    np.testing.assert_array_equal(got[2], want[2])
    assert all(bool(jnp.isfinite(x).all()) for x in jax.tree.leaves(gradients))


def test_gradients_survive_an_episode_that_decayed_to_nothing():
    steps, state = problem()
    steps = steps._replace(log_decay=jnp.asarray(steep(8)))
    (_, got), gradients = chunked(steps, state)
    (_, want), want_gradients = in_double_precision(delta_rule, steps, state)
    assert difference(got, want) < 2e-6
    assert difference(gradients, want_gradients) < 1e-4


def test_gradient_holds_no_state_for_each_step():
    time, width = 256, 32
    shape = (2, time, 3, width)
    steps = DeltaSteps(*(jnp.zeros(shape) for _ in range(3)), *(jnp.zeros(shape[:3]) for _ in range(2)))
    reset, state = jnp.zeros((2, time), bool), jnp.zeros((2, 3, width, width))
    assert gradient_bytes(delta_rule, steps, reset, state) < 2 * time * 3 * width * width * 4 / 4


def no_episodes(reset, episode, genuine=chunks._masks):
    return genuine(jnp.zeros_like(reset), jnp.zeros_like(episode))


MUTANTS = {
    "ignores resets": (chunks, "_masks", no_episodes),
    "does not look at what is there": (module, "invert_unit_lower", lambda x: jnp.eye(x.shape[-1]) + 0 * x),
    "decays nothing": (module, "cumulate", lambda steps, masks: 0 * steps),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_mutants_are_rejected(monkeypatch, name):
    where, what, mutant = MUTANTS[name]
    monkeypatch.setattr(where, what, mutant)
    steps, state = problem()
    got = jax.jit(functools.partial(delta_rule, chunk=CHUNK))(steps, jnp.asarray(resets()), state)
    assert not difference(got, reference(steps, resets(), state)) < 1e-3


@pytest.mark.slow
def test_gradients_of_long_sequences_are_finite():
    time = 65_536
    made = draw(3, query=(1, time, 1, 4), key=(1, time, 1, 4), value=(1, time, 1, 3))
    beta = jnp.full((1, time, 1), 1.9)
    steps = DeltaSteps(jnp.asarray(made["query"]), jnp.asarray(unit(made["key"])), jnp.asarray(made["value"]), beta)
    reset = np.zeros((1, time), bool)
    reset[0, 40_000] = True
    _, gradients = with_gradients(delta_rule, reset)(steps, jnp.zeros((1, 1, 4, 3)))
    assert all(bool(jnp.isfinite(x).all()) for x in jax.tree.leaves(gradients))
