"""Rows that are replaced where a condition holds, at the cost of those rows only."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.fast_compile import jit

from memorax.environments.replace_where import replace_where

CHUNK = 16


def make(key, offset):
    return {"value": jax.random.uniform(key, (2,)) + offset, "one": jnp.int32(1), "key": key}


def old_rows(*batch):
    blank = jnp.broadcast_to(jax.random.key(7), batch)
    return {"value": jnp.full((*batch, 2), -1.0), "one": jnp.zeros(batch, jnp.int8), "key": blank}


def replaced(needed, key, offset, old):
    return replace_where(needed, make, (key, offset), old, CHUNK)


@pytest.mark.parametrize("ended", [0, 1, 17, 32])
def test_only_what_is_needed_is_made(ended):
    """The right rows, and no more of them than a chunk too many; what is shared may be traced."""
    calls = []

    def counting(key):
        value = jax.random.uniform(key, (2,))
        jax.debug.callback(lambda _: calls.append(1), value[0])
        return value

    keys = jax.random.split(jax.random.key(4), 37)
    needed = np.zeros(37, bool)
    needed[np.random.default_rng(5).permutation(37)[:ended]] = True
    old = jnp.full((37, 2), -1.0)
    one = lambda needed, key, old: replace_where(needed, counting, (key,), old, CHUNK)  # noqa: E731
    made = jit(jax.vmap(one))(needed, keys, old)
    jax.effects_barrier()
    assert len(calls) == -(-ended // CHUNK) * CHUNK
    expected = jax.vmap(lambda key: jax.random.uniform(key, (2,)))(keys)
    np.testing.assert_array_equal(made, np.where(needed[:, None], expected, -1.0))


def test_rows_of_nested_maps_share_their_chunks():
    """One row alone, rows, and rows of rows give the same; dtypes hold what was there and what comes."""
    keys = jax.random.split(jax.random.key(4), (3, 21))
    needed = jax.random.bernoulli(jax.random.key(5), 0.6, (3, 21))
    offsets = jnp.arange(3.0)
    nested = jax.vmap(jax.vmap(replaced, (0, 0, None, 0)))
    made = jit(nested)(needed, keys, offsets, old_rows(3, 21))
    assert made["one"].dtype == jnp.int32
    expected = jax.vmap(jax.vmap(make, (0, None)))(keys, offsets)
    for name, wanted in expected.items():
        fresh, seen, before = wanted, made[name], old_rows(3, 21)[name]
        if name == "key":
            fresh, seen, before = (jax.random.key_data(x) for x in (fresh, seen, before))
        mask = needed.reshape(*needed.shape, *[1] * (seen.ndim - 2))
        np.testing.assert_array_equal(seen, np.where(mask, fresh, before))
    alone = jit(replaced)(needed[1, 2], keys[1, 2], offsets[1], old_rows())
    np.testing.assert_array_equal(alone["value"], made["value"][1, 2])


def test_what_is_the_same_in_all_rows_is_spread():
    keys, needed = jax.random.split(jax.random.key(0), 5), jnp.arange(5) % 2 == 0
    made = jit(jax.vmap(replaced, (0, 0, None, None)))(needed, keys, jnp.float32(0), old_rows())
    np.testing.assert_array_equal(made["one"], needed)


def test_shapes_must_agree():
    with pytest.raises(ValueError, match=r"must keep their shapes, got \(2,\) after reset and \(3,\) after step"):
        replace_where(jnp.bool_(True), lambda key: jnp.zeros(2), (jax.random.key(0),), jnp.zeros(3), 4)
