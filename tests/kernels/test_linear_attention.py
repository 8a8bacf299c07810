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
from memorax.kernels import linear_attention as module
from memorax.kernels.linear_attention import LinearSteps, linear_attention, rotate

PAIRS = 2
EACH = (BATCH, TIME, HEADS)
ROOM = {"query": (*EACH, KEYS), "key": (*EACH, KEYS), "value": (*EACH, VALUES)}


def problem(kind):
    groups = 2 if kind == "grouped" else HEADS
    made = draw(
        5, **ROOM, log_decay=EACH, angles=(*EACH, PAIRS), own=EACH, write=EACH, state=(BATCH, HEADS, KEYS, VALUES)
    )
    state = made.pop("state")
    made["log_decay"] = -0.3 * np.abs(made["log_decay"])
    constant = {"log_decay": -np.linspace(0.01, 0.5, HEADS, dtype=np.float32), "angles": np.float32([0.7, 0.05])}
    kept = {
        "plain": {},
        "decay": {"log_decay": made["log_decay"]},
        "grouped": {"log_decay": made["log_decay"]},
        "constant": constant,
        "everything": {name: made[name] for name in ("log_decay", "angles", "own", "write")},
    }[kind]
    room = {name: made[name][:, :, :groups] if name != "value" else made[name] for name in ROOM}
    return LinearSteps(**jax.tree.map(jnp.asarray, {**room, **kept})), jnp.asarray(state)


def reference(steps, reset, state):
    """The definition in float64: every weight of a write is that of its own step first, and that of later ones then."""
    steps = jax.tree.map(lambda x: np.asarray(x, float), steps)
    query, key = (np.repeat(x, HEADS // x.shape[2], axis=2) for x in (steps.query, steps.key))
    state, outputs = np.array(state, float), np.zeros(steps.value.shape)
    ones = np.ones(EACH)
    write = ones if steps.write is None else steps.write
    own = write if steps.own is None else steps.own
    decay = ones if steps.log_decay is None else np.exp(steps.log_decay) * ones
    for t in range(TIME):
        state[reset[:, t]] = 0
        if steps.angles is not None:
            angle = np.broadcast_to(
                steps.angles if steps.angles.ndim == 1 else steps.angles[:, t], (BATCH, HEADS, PAIRS)
            )
            turn = np.exp(1j * angle)[..., None] * (state[:, :, :PAIRS] + 1j * state[:, :, PAIRS : 2 * PAIRS])
            state = np.concatenate([turn.real, turn.imag, state[:, :, 2 * PAIRS :]], axis=2)
        state = state * decay[:, t, :, None, None]
        pair = key[:, t, :, :, None] * steps.value[:, t, :, None, :]
        seen = state + own[:, t, :, None, None] * pair
        state = state + write[:, t, :, None, None] * pair
        outputs[:, t] = np.einsum("bhnp,bhn->bhp", seen, query[:, t])
    return state, outputs


chunked = with_gradients(functools.partial(linear_attention, chunk=CHUNK), resets())


@pytest.mark.parametrize("kind", ["plain", "grouped", "constant", "everything"])
def test_chunks_equal_the_definition_and_single_steps(kind):
    steps, state = problem(kind)
    (_, got), gradients = chunked(steps, state)
    assert difference(got, reference(steps, resets(), state)) < 2e-6
    fixed = {name: getattr(steps, name) for name in ("log_decay", "angles") if kind == "constant"}

    def stepped(steps, reset, state):
        moving = steps._replace(**dict.fromkeys(fixed))
        again = {name: getattr(steps, name) for name in fixed}
        return by_steps(lambda *now: linear_attention(now[0]._replace(**again), *now[1:]))(moving, reset, state)

    (_, want), want_gradients = with_gradients(stepped, resets())(steps, state)
    assert difference(got, want) < 2e-6
    assert difference(gradients, want_gradients) < 1e-4


def test_any_chunk_and_any_length_agree_in_double_precision():
    with jax.enable_x64(True):
        steps, state = jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), problem("decay"))
        want = reference(steps, resets(), state)
        for chunk in (TIME - 1, None):
            got = jax.jit(functools.partial(linear_attention, chunk=chunk))(steps, jnp.asarray(resets()), state)
            assert got[1].dtype == jnp.float64
            assert difference(got, want) < 1e-12


def test_nothing_crosses_a_reset_forwards_or_backwards():
    steps, state = problem("grouped")
    (_, (_, want)), _ = chunked(steps, state)
    broken = steps._replace(key=steps.key.at[0, 2].set(jnp.nan), value=steps.value.at[1, 3, 1].set(jnp.inf))
    (_, (_, got)), gradients = chunked(broken, state.at[0].set(jnp.nan))
    np.testing.assert_array_equal(got[0, 3:], want[0, 3:])
    np.testing.assert_array_equal(got[1, CHUNK:], want[1, CHUNK:])
    np.testing.assert_array_equal(got[2], want[2])
    assert bool(jnp.isnan(got[0, 2]).all())
    assert bool(jnp.isnan(got[1, 3:CHUNK, 1]).all())
    np.testing.assert_array_equal(got[1, :, 2], want[1, :, 2])
    assert all(bool(jnp.isfinite(x).all()) for x in jax.tree.leaves(gradients))


@pytest.mark.parametrize("kind", ["grouped", "everything"])
def test_gradients_survive_an_episode_that_decayed_to_nothing(kind):
    steps, state = problem(kind)
    steps = steps._replace(log_decay=jnp.asarray(steep(8)))
    (_, got), gradients = chunked(steps, state)
    (_, want), (exact, exact_state) = in_double_precision(linear_attention, steps, state)
    assert difference(got, want) < 2e-6
    if kind == "everything":
        # A turn of what is forgotten at once hardly matters: what is left of its slope is rounding.
        np.testing.assert_allclose(gradients[0].angles, exact.angles, atol=1e-4)
        exact = exact._replace(angles=gradients[0].angles)
    assert difference(gradients, (exact, exact_state)) < 1e-4


@pytest.mark.parametrize("sign", [1, -1])
def test_what_masks_forbid_has_no_slope(sign):
    nothing = genuine_masks(jnp.ones((1, 3), bool), jnp.asarray([[1, 2, 3]]))
    total = sign * jnp.asarray([[[200.0, 50.0, -150.0]]])
    slope = jax.grad(lambda x: sum(jnp.sum(weight) for weight in chunks.decay_weights(x, nothing)))(total)
    np.testing.assert_array_equal(slope, 0)


def test_a_single_step_can_be_differentiated_forwards():
    steps, state = jax.tree.map(lambda x: x[:, :1], problem("decay")[0]), problem("decay")[1]
    _, tangent = jax.jvp(lambda s: linear_attention(steps, jnp.zeros((BATCH, 1), bool), s)[0], (state,), (state,))
    assert difference(tangent, jnp.exp(steps.log_decay[:, 0])[..., None, None] * state) < 1e-6


def test_gradient_holds_no_state_for_each_step():
    time, width = 256, 32
    shape = (2, time, 3, width)
    steps = LinearSteps(jnp.zeros(shape), jnp.zeros(shape), jnp.zeros(shape), jnp.zeros(shape[:3]))
    reset, state = jnp.zeros((2, time), bool), jnp.zeros((2, 3, width, width))
    assert gradient_bytes(linear_attention, steps, reset, state) < 2 * time * 3 * width * width * 4 / 4


def test_low_precision_inputs_leave_the_state_in_float32():
    steps, state = problem("decay")
    low = jax.tree.map(lambda x: x.astype(jnp.bfloat16), steps)
    got = jax.jit(functools.partial(linear_attention, chunk=CHUNK))(low, jnp.asarray(resets()), state)
    assert got[0].dtype == got[1].dtype == jnp.float32
    assert difference(got, reference(low, resets(), state)) < 2e-6


def test_rotation_keeps_lengths_and_adds_up():
    x = jnp.asarray(draw(1, x=(7, KEYS))["x"])
    once, again = jnp.float32([0.3, 2.0]), jnp.float32([-1.1, 0.4])
    assert difference(rotate(rotate(x, once), again), rotate(x, once + again)) < 1e-6
    assert difference(jnp.linalg.norm(rotate(x, once), axis=-1), jnp.linalg.norm(x, axis=-1)) < 1e-6
    np.testing.assert_array_equal(rotate(x, once)[:, 2 * PAIRS :], x[:, 2 * PAIRS :])


genuine_masks = chunks._masks


def no_episodes(reset, episode):
    return genuine_masks(jnp.zeros_like(reset), jnp.zeros_like(episode))


def forgets_at_once(reset, episode):
    masks = genuine_masks(reset, episode)
    return masks._replace(old=masks.old & False)


def keeps_everything(reset, episode):
    masks = genuine_masks(reset, episode)
    return masks._replace(last=masks.last | True)


MUTANTS = {
    "ignores resets": (chunks, "_masks", no_episodes),
    "drops the old state": (chunks, "_masks", forgets_at_once),
    "keeps the writes of every episode": (chunks, "_masks", keeps_everything),
    "decays nothing": (module, "cumulate", lambda steps, masks: 0 * steps),
    "sums across resets, with sentinels": (
        module,
        "cumulate",
        lambda steps, masks: jnp.cumsum(jnp.where(masks.pair[:, :, :, 0], steps, -1e9), axis=-1),
    ),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_mutants_are_rejected(monkeypatch, name):
    where, what, mutant = MUTANTS[name]
    monkeypatch.setattr(where, what, mutant)
    steps, state = problem("decay")
    got = jax.jit(functools.partial(linear_attention, chunk=CHUNK))(steps, jnp.asarray(resets()), state)
    assert not difference(got, reference(steps, resets(), state)) < 1e-3


@pytest.mark.slow
def test_long_sequences_keep_their_precision_and_finite_gradients():
    time = 65_536
    made = draw(3, query=(1, time, 1, 4), key=(1, time, 1, 4), value=(1, time, 1, 3), log_decay=(1, time, 1))
    made["log_decay"] = -0.1 * np.abs(made["log_decay"])
    reset = np.zeros((1, time), bool)
    reset[0, [777, 40_000]] = True
    steps, state = LinearSteps(**jax.tree.map(jnp.asarray, made)), jnp.zeros((1, 1, 4, 3))
    (_, (last, outputs)), gradients = with_gradients(linear_attention, reset)(steps, state)
    assert all(bool(jnp.isfinite(x).all()) for x in jax.tree.leaves(gradients))
    exact, want = np.zeros((4, 3)), np.zeros((time, 3))
    for t in range(time):
        exact = exact * (not reset[0, t]) * np.exp(float(made["log_decay"][0, t, 0]))
        exact += np.outer(made["key"][0, t, 0].astype(float), made["value"][0, t, 0])
        want[t] = made["query"][0, t, 0].astype(float) @ exact
    assert difference((last[0, 0], outputs[0, :, 0]), (exact, want)) < 1e-5
