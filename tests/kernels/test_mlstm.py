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
from memorax.kernels import mlstm as module
from memorax.kernels.mlstm import EMPTY, MLSTMSteps, mlstm

EACH = (BATCH, TIME, HEADS)


def problem(scale=1.0):
    made = draw(5, query=(*EACH, KEYS), key=(*EACH, KEYS), value=(*EACH, VALUES), write=EACH, forget=EACH)
    old = draw(6, matrix=(BATCH, HEADS, KEYS, VALUES), normalizer=(BATCH, HEADS, KEYS), largest=(BATCH, HEADS))
    made["write"], made["forget"] = scale * made["write"], scale * made["forget"] + 2
    return jax.tree.map(jnp.asarray, (MLSTMSteps(**made), tuple(old.values())))


def empty():
    zeros = jnp.zeros((BATCH, HEADS, KEYS, VALUES))
    return zeros, zeros[..., 0], jnp.full((BATCH, HEADS), EMPTY, jnp.float32)


def plain(state):
    """The memory without its stabilizer."""
    matrix, normalizer, largest = (np.asarray(part, float) for part in state)
    return matrix * np.exp(largest)[..., None, None], normalizer * np.exp(largest)[..., None]


def reference(steps, reset, state):
    """The definition in float64, not stabilized."""
    query, key, value, write, forget = jax.tree.map(lambda x: np.asarray(x, float), steps)
    (matrix, normalizer), outputs = plain(state), np.zeros(value.shape)
    for t in range(TIME):
        matrix[reset[:, t]], normalizer[reset[:, t]] = 0, 0
        keep, put = 1 / (1 + np.exp(-forget[:, t])), np.exp(write[:, t])
        matrix = keep[..., None, None] * matrix
        matrix += put[..., None, None] * key[:, t, :, :, None] * value[:, t, :, None]
        normalizer = keep[..., None] * normalizer + put[..., None] * key[:, t]
        bound = np.maximum(np.abs(np.einsum("bhn,bhn->bh", normalizer, query[:, t])), 1)
        outputs[:, t] = np.einsum("bhnp,bhn->bhp", matrix, query[:, t]) / bound[..., None]
    return (matrix, normalizer), outputs


chunked = with_gradients(functools.partial(mlstm, chunk=CHUNK), resets())
stepped = with_gradients(by_steps(mlstm), resets())


def test_chunks_equal_the_definition_and_single_steps():
    steps, state = problem()
    (_, got), gradients = chunked(steps, state)
    (_, want), want_gradients = stepped(steps, state)
    exact = reference(steps, resets(), state)
    assert difference(plain(got[0]), exact[0]) < 1e-5
    assert difference(got[1], exact[1]) < 1e-4
    assert difference(got, want) < 1e-4
    assert difference(gradients, want_gradients) < 1e-3


@pytest.mark.parametrize("scale", [30.0, 100.0, 300.0])
def test_extreme_gates_stay_finite_and_alike(scale):
    steps, _ = problem(scale)
    (_, (_, got)), gradients = chunked(steps, empty())
    (_, (_, want)), _ = stepped(steps, empty())
    assert all(bool(jnp.isfinite(x).all()) for x in jax.tree.leaves((got, gradients)))
    assert difference(got, want) < 1e-3


def test_gradients_survive_an_episode_that_decayed_to_nothing():
    steps, state = problem()
    steps = steps._replace(forget=jnp.asarray(steep(8)))
    (_, got), gradients = chunked(steps, state)
    (_, want), want_gradients = in_double_precision(mlstm, steps, state)
    assert difference(got, want) < 1e-4
    assert difference(gradients, want_gradients) < 1e-3


@pytest.mark.parametrize("run", ["chunked", "stepped"])
def test_a_query_of_zero_after_a_large_gate_has_a_finite_gradient(run):
    steps, _ = problem()
    steps = steps._replace(query=0 * steps.query, write=steps.write + 50)
    (_, (_, got)), gradients = {"chunked": chunked, "stepped": stepped}[run](steps, empty())
    np.testing.assert_array_equal(got, 0)
    assert all(bool(jnp.isfinite(x).all()) for x in jax.tree.leaves(gradients))


def test_outputs_do_not_depend_on_the_stabilizer():
    steps, (matrix, normalizer, largest) = problem()
    shifted = matrix * np.exp(-3), normalizer * np.exp(-3), largest + 3
    for run in (chunked, stepped):
        (_, (_, want)), _ = run(steps, (matrix, normalizer, largest))
        (_, (_, got)), _ = run(steps, shifted)
        assert difference(got, want) < 1e-4


def test_eps_is_added_to_the_denominator():
    steps, state = problem()
    whole = jax.jit(functools.partial(mlstm, eps=0.5, chunk=CHUNK))(steps, jnp.asarray(resets()), state)[1]
    single = jax.jit(by_steps(functools.partial(mlstm, eps=0.5)))(steps, jnp.asarray(resets()), state)[1]
    assert difference(whole, single) < 1e-4
    assert difference(whole, reference(steps, resets(), state)[1]) > 0.05


def test_nothing_crosses_a_reset_forwards_or_backwards():
    steps, state = problem()
    (_, (_, want)), _ = chunked(steps, state)
    broken = steps._replace(write=steps.write.at[0, 2].set(jnp.inf), forget=steps.forget.at[1, 3, 1].set(jnp.nan))
    (_, (_, got)), gradients = chunked(broken, tuple(part.at[0].set(jnp.nan) for part in state))
    np.testing.assert_array_equal(got[0, 3:], want[0, 3:])
    np.testing.assert_array_equal(got[1, CHUNK:], want[1, CHUNK:])
    np.testing.assert_array_equal(got[2], want[2])
    assert all(bool(jnp.isfinite(x).all()) for x in jax.tree.leaves(gradients))


def test_gradient_holds_no_state_for_each_step():
    time, width = 256, 32
    shape = (2, time, 3, width)
    steps = MLSTMSteps(*(jnp.zeros(shape) for _ in range(3)), *(jnp.zeros(shape[:3]) for _ in range(2)))
    matrix = jnp.zeros((2, 3, width, width))
    state = matrix, matrix[..., 0], matrix[..., 0, 0]
    bytes_ = gradient_bytes(mlstm, steps, jnp.zeros((2, time), bool), state)
    assert bytes_ < 2 * time * 3 * width * width * 4 / 4


def no_episodes(reset, episode, genuine=chunks._masks):
    return genuine(jnp.zeros_like(reset), jnp.zeros_like(episode))


MUTANTS = {
    "ignores resets": (chunks, "_masks", no_episodes),
    "decays nothing": (module, "cumulate", lambda steps, masks: 0 * steps),
    "takes 1 for a bound": (module, "_normalize", lambda top, below, *_: top / jnp.maximum(abs(below), 1)[..., None]),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_mutants_are_rejected(monkeypatch, name):
    where, what, mutant = MUTANTS[name]
    monkeypatch.setattr(where, what, mutant)
    steps, state = problem()
    _, got = jax.jit(functools.partial(mlstm, chunk=CHUNK))(steps, jnp.asarray(resets()), state)
    assert not difference(got, reference(steps, resets(), state)[1]) < 1e-2


@pytest.mark.slow
def test_gradients_of_long_sequences_are_finite():
    time = 65_536
    shapes = dict.fromkeys(("query", "key", "value"), (1, time, 1, 4)) | dict.fromkeys(
        ("write", "forget"), (1, time, 1)
    )
    steps = MLSTMSteps(**jax.tree.map(jnp.asarray, draw(3, **shapes)))
    reset = np.zeros((1, time), bool)
    reset[0, 40_000] = True
    state = jnp.zeros((1, 1, 4, 4)), jnp.zeros((1, 1, 4)), jnp.full((1, 1), EMPTY, jnp.float32)
    (_, (_, outputs)), gradients = with_gradients(mlstm, reset)(steps, state)
    assert all(bool(jnp.isfinite(x).all()) for x in jax.tree.leaves((outputs, gradients)))
