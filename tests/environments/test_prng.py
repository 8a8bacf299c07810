"""Random numbers for single steps against those of `jax.random`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from memorax.environments.memory.parts import prng

KEYS = {
    "typed": jax.random.key(5),
    "raw": jax.random.PRNGKey(6),
    "of another generator": jax.random.key(7, impl="rbg"),
}


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
def test_numbers_are_those_of_jax(key):
    for ours, theirs in ((prng.split(key), jax.random.split(key)), (prng.split(key, 3), jax.random.split(key, 3))):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(jax.random.key_data(ours), jax.random.key_data(theirs))
    for shape in ((), (5,), (2, 3)):
        np.testing.assert_array_equal(prng.bits(key, shape), jax.random.bits(key, shape))
        np.testing.assert_array_equal(prng.uniform(key, shape), jax.random.uniform(key, shape))


def test_mapped_numbers_are_those_of_each_key():
    keys = jax.random.split(jax.random.key(1), 4)
    mapped = jax.vmap(lambda key: prng.uniform(prng.split(key)[1], (2,)))(keys)
    each = [jax.random.uniform(jax.random.split(key)[1], (2,)) for key in keys]
    np.testing.assert_array_equal(mapped, np.stack(each))


@pytest.mark.parametrize("number", [1, 7, 52, 2**16, 100_003, 2**31 - 1])
def test_integers_below_a_number(number):
    """The share of the way through all words, in whole numbers: exactly what 64 bits give."""
    key = jax.random.key(3)
    words = np.asarray(prng.bits(key, (500,)), np.uint64)
    np.testing.assert_array_equal(prng.integers(key, number, (500,)), words * np.uint64(number) >> np.uint64(32))


def test_each_integer_has_its_own_bound():
    found = np.asarray(prng.integers(jax.random.key(4), jnp.array([1, 3, 5]), (3000, 3)))
    np.testing.assert_array_equal(found.max(axis=0), [0, 2, 4])
    for column, number in ((1, 3), (2, 5)):
        counts = np.bincount(found[:, column])
        assert ((counts - 3000 / number) ** 2).sum() / (3000 / number) < 20
    assert np.asarray(prng.fair_coin(jax.random.key(4), (1000,))).mean() == pytest.approx(0.5, abs=0.05)
