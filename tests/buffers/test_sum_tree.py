"""Sums of sums: draws in proportion, exact zeros, sums that stay accurate."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from memorax.buffers import sum_tree
from memorax.buffers.sum_tree import Window

ROWS, SIZE, DRAWS = 3, 45, 60_000


def filled(values, dtype=jnp.float32):
    rows, size = values.shape
    tree = sum_tree.make_tree(rows, size, dtype)
    return sum_tree.set_windows(tree, size, [Window(jnp.int32(0), jnp.asarray(values), jnp.ones(size, bool))])


def drawn(tree, rows, size, draws=DRAWS):
    row, leaf = jax.jit(sum_tree.draw, static_argnums=2)(tree, jax.random.key(7), draws)
    return np.bincount(np.asarray(row) * size + np.asarray(leaf), minlength=rows * size)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.uint8])
@pytest.mark.parametrize("rows", [1, 2, 21])
def test_draws_are_proportional(rows, dtype):
    rng = np.random.default_rng(rows)
    values = rng.exponential(1.0, (rows, SIZE)) if dtype == jnp.float32 else rng.integers(0, 2, (rows, SIZE))
    values[:, 5:20] = 0  # whole groups without weight
    counts = drawn(filled(values, dtype), rows, SIZE)
    expected = values.ravel() / values.sum() * DRAWS
    assert not counts[expected == 0].any()
    likely = expected >= 5
    observed, expected = counts[likely], expected[likely]
    assert stats.chisquare(observed, expected * observed.sum() / expected.sum()).pvalue > 1e-3


def test_draws_are_independent():
    tree = filled(np.ones((1, 2)))
    first = np.asarray(sum_tree.draw(tree, jax.random.key(0), 4096)[1])
    assert abs(np.corrcoef(first[::2], first[1::2])[0, 1]) < 0.06


def test_a_weight_of_zero_is_never_drawn_however_the_others_differ():
    rng = np.random.default_rng(0)
    values = 10.0 ** rng.uniform(-20, 20, (ROWS, SIZE)) * (rng.random((ROWS, SIZE)) < 0.3)
    counts = drawn(filled(values.astype(np.float32)), ROWS, SIZE)
    assert counts.sum() == DRAWS
    assert not counts[values.ravel() == 0].any()


def test_every_leaf_of_many_can_be_drawn():
    # More leaves than a float32 can count: half of them would be out of reach of a single threshold.
    size = 2**24 + 2**21 + 1
    tree = sum_tree.make_tree(1, size, jnp.float32)
    tree = sum_tree.SumTree(tuple(jnp.full_like(level, 16.0**i) for i, level in enumerate(tree.levels)))
    _, leaves = sum_tree.draw(tree, jax.random.key(0), 4096)
    assert stats.binomtest(int((np.asarray(leaves) % 2).sum()), 4096).pvalue > 1e-3
    assert stats.binomtest(int((np.asarray(leaves) % 16 == 15).sum()), 4096, 1 / 16).pvalue > 1e-3


def test_sums_do_not_drift():
    rng = np.random.default_rng(0)
    tree = filled(np.full((ROWS, SIZE), 1e8, np.float32))
    many = 3000
    rows, leaves = rng.integers(0, ROWS, (many, 4)), rng.integers(0, SIZE, (many, 4))
    values = rng.exponential(10.0 ** rng.uniform(-8, 8, (many, 1)), (many, 4)).astype(np.float32)

    def body(tree, new):
        return sum_tree.set_leaves(tree, *new), None

    tree, _ = jax.jit(lambda tree, new: jax.lax.scan(body, tree, new))(tree, (rows, leaves, values))
    leaves = np.asarray(tree.levels[0], np.float64).reshape(ROWS, -1)
    np.testing.assert_allclose(sum_tree.total(tree), leaves.sum(axis=1), rtol=1e-6)


def test_thresholds_of_integers_are_exact():
    rng = np.random.default_rng(0)
    bits, whole = rng.integers(0, 2**32, 4096, dtype=np.uint64), rng.integers(0, 2**31, 4096, dtype=np.uint64)
    below = sum_tree._below(jnp.asarray(bits, jnp.uint32), jnp.asarray(whole, jnp.int32))
    np.testing.assert_array_equal(below, bits * whole >> np.uint64(32))


@pytest.mark.parametrize("size", [1, 15, 16, 17, 257, 300])
def test_windows_may_go_on_from_the_last_leaf_to_the_first(size):
    rng = np.random.default_rng(size)
    expected = np.zeros((2, size))
    tree = sum_tree.make_tree(2, size, jnp.float32)
    set_windows = jax.jit(sum_tree.set_windows, static_argnums=1)
    width = max(1, size // 3)
    for first in rng.integers(0, size, 8):
        values, changed = rng.random((2, width)), rng.random(width) < 0.8
        tree = set_windows(tree, size, [Window(jnp.int32(first), jnp.asarray(values), jnp.asarray(changed))])
        places = (first + np.arange(width)) % size
        expected[:, places[changed]] = values[:, changed]
        for below, above in zip(tree.levels, tree.levels[1:], strict=False):
            sums = np.asarray(below).sum(axis=-1)
            np.testing.assert_allclose(np.asarray(above).reshape(2, -1)[:, : sums.shape[1]], sums, rtol=1e-6)
        np.testing.assert_allclose(np.asarray(tree.levels[0]).reshape(2, -1)[:, :size], expected, rtol=1e-6)
