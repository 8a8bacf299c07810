import functools
import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from memorax.kernels import attention
from memorax.kernels.attention import NOWHERE, Cache, Positions, empty_cache, window_attention

BATCH, HEADS, DIM, WINDOW = 3, 2, 6, 5
TIME = 4 * WINDOW + 3
RESET = np.zeros((BATCH, TIME), bool)
RESET[0, [0, 4, 5, 14]] = True  # at once, adjacent, on a border of blocks of 7
RESET[1, TIME - 1] = True
FREQUENCIES = 10_000.0 ** (-np.arange(DIM // 2) * 2 / DIM)
KINDS = ("none", "rope", "alibi", "relative")


def draw(time=TIME, window=WINDOW, seed=0):
    keys = jax.random.split(jax.random.key(seed), 5)
    queries, keys_, values, relative = (jax.random.normal(k, (BATCH, time, HEADS, DIM)) for k in keys[:4])
    return (queries, keys_, values), (relative, jax.random.normal(keys[4], (window, HEADS, DIM)))


@functools.cache
def compiled(kind, block):
    def call(inputs, relative, reset, cache):
        positions = {
            "none": NOWHERE,
            "rope": Positions(frequencies=FREQUENCIES),
            "alibi": Positions(slopes=np.asarray([0.5, 0.125])),
            "relative": Positions(relative=relative),
        }[kind]
        return window_attention(*inputs, reset, cache, positions, block=block)

    return jax.jit(call)


def reference(kind, inputs, relative, reset, window):
    """Attend step by step in float64, with absolute angles."""
    queries, keys, values = (np.asarray(x, float) for x in inputs)
    far, near = (np.asarray(x, float) for x in relative)
    outputs = np.zeros(queries.shape)
    for b, h in np.ndindex(BATCH, HEADS):
        begin = 0
        for t in range(queries.shape[1]):
            begin = t if reset[b, t] else begin
            seen = np.arange(max(begin, t - window + 1), t + 1)
            query, key = queries[b, t, h], keys[b, seen, h]
            scores = key @ query
            if kind == "rope":
                a, c = query[: DIM // 2] + 1j * query[DIM // 2 :], key[:, : DIM // 2] + 1j * key[:, DIM // 2 :]
                scores = np.real(a * np.conj(c) * np.exp(1j * np.outer(t - seen, FREQUENCIES))).sum(-1)
            if kind == "relative":
                scores += near[t - seen, h] @ far[b, t, h]
            scores = scores / np.sqrt(DIM)
            if kind == "alibi":
                scores -= (0.5, 0.125)[h] * (t - seen)
            weights = np.exp(scores - scores.max())
            outputs[b, t, h] = weights @ values[b, seen, h] / weights.sum()
    return outputs


def attend(kind, inputs, relative, cuts, block=None, reset=RESET, cache=None):
    """Attend in the pieces that `cuts` make."""
    cache = empty_cache(BATCH, HEADS, len(relative[1]), DIM) if cache is None else cache
    outputs = []
    for start, stop in itertools.pairwise(cuts):
        *piece, queries = (x[:, start:stop] for x in (*inputs, relative[0]))
        cache, output = compiled(kind, block)(piece, (queries, relative[1]), reset[:, start:stop], cache)
        outputs.append(output)
    return cache, jnp.concatenate(outputs, axis=1)


@pytest.mark.parametrize("kind", KINDS)
def test_equals_the_definition(kind):
    inputs, relative = draw()
    want = reference(kind, inputs, relative, RESET, WINDOW)
    for block in (None, 4):
        np.testing.assert_allclose(attend(kind, inputs, relative, [0, TIME], block)[1], want, rtol=0, atol=1e-6)


@pytest.mark.parametrize("block", [1, WINDOW, 7, TIME])
def test_blocks_of_any_size(block):
    inputs, relative = draw()
    want = reference("rope", inputs, relative, RESET, WINDOW)
    np.testing.assert_allclose(attend("rope", inputs, relative, [0, TIME], block)[1], want, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_any_split_equals_the_whole(kind):
    inputs, relative = draw()
    cache, outputs = attend(kind, inputs, relative, [0, TIME])
    for cuts in (range(TIME + 1), (0, 1, 4, 15, 16, TIME)):
        got_cache, got = attend(kind, inputs, relative, cuts, block=4)
        np.testing.assert_allclose(got, outputs, rtol=0, atol=1e-6)
        for a, b in zip(got_cache, cache, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)


@pytest.mark.parametrize("window", [1, 2, TIME, 40])
def test_windows_of_any_size(window):
    inputs, relative = draw(window=window)
    want = reference("rope", inputs, relative, RESET, window)
    for cuts, block in (((0, TIME), None), ((0, 11, 12, TIME), 6)):
        np.testing.assert_allclose(attend("rope", inputs, relative, cuts, block)[1], want, rtol=0, atol=1e-6)


def test_a_cache_depends_on_its_episode_alone():
    inputs, relative = draw()
    poison = Cache(*(jnp.full((BATCH, HEADS, WINDOW, DIM), jnp.nan),) * 2, jnp.full(BATCH, 13))
    reset = RESET.copy()
    reset[:, TIME - 3] = True
    fresh = [x[:, TIME - 3 :] for x in inputs]
    want, outputs = attend("rope", fresh, relative, [0, 3], reset=RESET[:, TIME - 3 :])
    for cuts in ([0, TIME], [0, TIME - 2, TIME - 1, TIME]):
        cache, got = attend("rope", inputs, relative, cuts, reset=reset, cache=poison)
        np.testing.assert_allclose(got[:, -3:], outputs, atol=1e-6)
        for a, b in zip(cache, want, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)


@pytest.mark.parametrize("cuts", [[0, TIME], list(range(TIME + 1))], ids=["whole", "steps"])
@pytest.mark.parametrize("which", [0, 1, 2], ids=["queries", "keys", "values"])
def test_what_is_not_finite_stays_in_its_episode(cuts, which):
    inputs, relative = draw()
    _, want = attend("none", inputs, relative, cuts, block=4)
    for poison in (jnp.nan, jnp.inf):
        poisoned = list(inputs)
        poisoned[which] = poisoned[which].at[0, 11, 0].set(poison)
        _, got = attend("none", poisoned, relative, cuts, block=4)
        np.testing.assert_array_equal(got[0, 14:], want[0, 14:])
        np.testing.assert_array_equal(got[0, :11], want[0, :11])
        np.testing.assert_array_equal(got[1:], want[1:])
        assert np.all(np.isnan(got[0, 11, 0])) or (which == 2 and poison == jnp.inf)


def test_the_first_of_all_angles_does_not_matter():
    """Rotary positions know distances alone: a cache whose ring begins elsewhere gives the same."""
    inputs, relative = draw()
    never = np.zeros_like(RESET)
    _, want = attend("rope", inputs, relative, [0, TIME], reset=never)
    for shift in (3,):
        padded = [jnp.concatenate([jnp.zeros_like(x[:, :shift]), x], axis=1) for x in inputs]
        late = np.concatenate([np.zeros((BATCH, shift), bool), never], axis=1)
        _, got = attend("rope", padded, relative, [0, shift, shift + 2, TIME + shift], reset=late)
        # The window has moved on from the padding after its own length.
        np.testing.assert_allclose(got[:, shift + WINDOW :], want[:, WINDOW:], rtol=0, atol=1e-6)


def test_gradients_equal_those_of_steps():
    inputs, relative = draw()
    weights = jax.random.normal(jax.random.key(9), (BATCH, TIME, HEADS, DIM))
    before, _ = attend("relative", *draw(7, seed=1), [0, 7], reset=np.zeros((BATCH, 7), bool))

    def loss(cuts, kind, inputs, relative, rows):
        cache = Cache(*rows, before.steps)
        cache, outputs = attend(kind, inputs, relative, cuts, block=4, cache=cache)
        return jnp.sum(outputs * weights) + sum(jnp.sum(jnp.sin(x)) for x in cache[:2])

    for kind in ("rope", "relative"):
        got, want = (
            jax.jit(jax.grad(partial(loss, cuts, kind), (0, 1, 2)))(inputs, relative, before[:2])
            for cuts in ((0, TIME), (0, 1, 2, 14, TIME))
        )
        for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)


def test_scores_of_all_time_are_never_held():
    time, window = 1024, 64
    shape = jax.ShapeDtypeStruct((1, time, HEADS, DIM), jnp.float32)

    def loss(queries, keys, values):
        cache, reset = empty_cache(1, HEADS, window, DIM), jnp.zeros((1, time), bool)
        return jnp.sum(window_attention(queries, keys, values, reset, cache)[1])

    used = jax.jit(jax.grad(loss, (0, 1, 2))).lower(shape, shape, shape).compile().memory_analysis()
    assert used.temp_size_in_bytes < 4 * HEADS * time * window * 2  # scores of all time: four times as much and more


def test_half_precision_keeps_the_cache():
    inputs, relative = draw()
    half = [x.astype(jnp.bfloat16) for x in inputs]
    for cuts in ([0, TIME], [0, 1, 2, TIME]):
        cache, outputs = attend("rope", half, relative, cuts)
        assert outputs.dtype == jnp.bfloat16
        assert cache.keys.dtype == cache.values.dtype == jnp.float32
        want = reference("rope", half, relative, RESET, WINDOW)
        np.testing.assert_allclose(outputs.astype(jnp.float32), want, rtol=0, atol=5e-2)


MUTANTS = {
    "counts from zero in every call": (
        "episode_steps",
        lambda f: lambda reset, steps: f(reset, steps * 0),
        lambda: test_any_split_equals_the_whole("none"),
    ),
    "keeps what is not finite": (
        "_clean",
        lambda f: lambda keys, values: attention.Rows(keys, values, jnp.zeros((BATCH, keys.shape[2]))),
        lambda: test_what_is_not_finite_stays_in_its_episode([0, TIME], 2),
    ),
    "sees all steps": (
        "_mix",
        lambda f: lambda scores, visible, *rest: f(scores, jnp.ones_like(visible), *rest),
        lambda: test_equals_the_definition("none"),
    ),
    "reads the ring from its first slot": (
        "_turn",
        lambda f: lambda rows, start, length: f(rows, start * 0, length),
        lambda: test_any_split_equals_the_whole("none"),
    ),
    "does not turn keys": (
        "place",
        lambda f: lambda keys, slots, positions: keys,
        lambda: test_any_split_equals_the_whole("rope"),
    ),
    "shifts distances": (
        "_skew",
        lambda f: lambda scores: jnp.roll(f(scores), 1, axis=-1),
        lambda: test_equals_the_definition("relative"),
    ),
}


@pytest.fixture
def uncached():
    compiled.cache_clear()
    yield
    compiled.cache_clear()


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_found(monkeypatch, uncached, name):
    function, change, find = MUTANTS[name]
    monkeypatch.setattr(attention, function, change(getattr(attention, function)))
    with pytest.raises(AssertionError):
        find()


@pytest.mark.slow
def test_gradients_are_finite_after_65536_steps():
    time, window = 65_536, 64
    inputs, _ = draw(time)
    reset = jnp.zeros((1, time), bool).at[0, 40_000].set(True)

    def loss(inputs):
        cache = empty_cache(1, HEADS, window, DIM)
        return jnp.sum(jnp.sin(window_attention(*inputs, reset, cache, Positions(frequencies=FREQUENCIES))[1]))

    for leaf in jax.jit(jax.grad(loss))([x[:1] for x in inputs]):
        assert np.all(np.isfinite(leaf))
        assert np.all(np.any(leaf[:, 1:40_000] != 0, axis=(0, 2, 3)))
