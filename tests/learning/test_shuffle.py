"""Orders by mixing are permutations, and their statistics those of exact orders."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from memorax.learning import shuffle
from memorax.learning.shuffle import shuffled

MINIBATCHES = 4


@pytest.mark.parametrize("size", [1, 7, 1024, 1025, 2048, 3000, 4097])
def test_every_number_comes_once(key, size):
    order = jax.jit(shuffled, static_argnums=1)(key, size)
    assert order.dtype == jnp.int32
    np.testing.assert_array_equal(np.sort(order), np.arange(size))


def test_few_numbers_and_whoever_wants_it_get_an_exact_order(key):
    for size, exact in ((1024, shuffle.EXACT), (2048, 2048)):
        np.testing.assert_array_equal(shuffled(key, size, exact=exact), jax.random.permutation(key, size))


def minibatches(size, exact, orders=4096):
    """The minibatch of every number in many orders, `[orders, size]`."""
    keys = jax.random.split(jax.random.key(5), orders)
    order = jax.jit(jax.vmap(lambda key: jnp.argsort(shuffled(key, size, exact=exact))))
    return np.asarray(order(keys)) * MINIBATCHES // size


def together(minibatch, distance):
    return minibatch == np.roll(minibatch, distance, axis=1)


def spread_of_pairs(minibatch):
    """How much does the number of pairs in one minibatch vary from order to order, for pairs of several distances?"""
    size = minibatch.shape[1]
    return np.asarray([np.std(np.mean(together(minibatch, n), axis=1)) for n in (1, 2, 3, size // 4, size // 2 - 1)])


@pytest.mark.parametrize("size", [64, 96])
def test_who_is_in_a_minibatch_with_whom_is_as_of_exact_orders(size):
    minibatch = minibatches(size, exact=0)
    orders, probability = len(minibatch), (size / MINIBATCHES - 1) / (size - 1)
    pairs = np.stack([np.mean(together(minibatch, n), axis=0) for n in (1, 2, 3, 5, size // 8, size // 4, size // 2)])
    where = np.stack([np.mean(minibatch == m, axis=0) for m in range(MINIBATCHES)])
    for measured, expected in ((pairs, probability), (where, 1 / MINIBATCHES)):
        deviations = (measured - expected) / np.sqrt(expected * (1 - expected) / orders)
        assert np.max(np.abs(deviations)) < 5
        assert 0.85 < np.std(deviations) < 1.15
    np.testing.assert_allclose(spread_of_pairs(minibatch), spread_of_pairs(minibatches(size, exact=size)), rtol=0.06)


def test_one_round_of_mixing_would_be_noticed(monkeypatch):
    monkeypatch.setattr(shuffle, "_ROUNDS", 1)
    assert np.max(spread_of_pairs(minibatches(64, exact=0)) / spread_of_pairs(minibatches(64, exact=64))) > 2
