"""Counts of steps against Python's integers, on both sides of 2^32."""

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings

from memorax.core.step_count import StepCount

NUMBERS = st.one_of(st.integers(0, 2**64 - 1), st.integers(2**32 - 9, 2**32 + 9), st.integers(0, 99))
PERIODS = st.one_of(st.integers(1, 2**31 - 1), st.integers(1, 3000))


@settings(max_examples=60, deadline=None)
@given(NUMBERS, st.one_of(NUMBERS, st.integers(0, 9)), PERIODS)
@example(2**32 - 1, 1, 1)
@example(2**64 - 1, 0, 2**31 - 1)
@example(5 * 2**32 + 3, 2**32 - 1, 1000)
def test_arithmetic_is_that_of_integers(number, more, period):
    count = StepCount.of(number)
    assert int(count) == number
    assert int(count + more) == (number + more) % 2**64
    if more < 2**32:
        assert int(count + jnp.uint32(more)) == (number + more) % 2**64
    assert int(count % period) == number % period
    assert int(count.rounded_down(period)) == number - number % period
    np.testing.assert_allclose(count.as_float(), np.float32(number), rtol=1e-7)


def test_a_count_is_read_like_a_number():
    count = StepCount.of(2**32 + 12)
    assert count == 2**32 + 12
    assert count != 12
    assert f"{count:,}" == "4,294,967,308"
    seeds = jax.vmap(lambda x: StepCount.of(2**32 - 1) + x)(jnp.uint32([0, 1]))
    np.testing.assert_array_equal(seeds, [2**32 - 1, 2**32])


@pytest.mark.parametrize("make", [jax.random.key, jax.random.PRNGKey])
def test_keys_are_those_of_32_bits_and_do_not_repeat_beyond(make):
    fold = jax.jit(lambda key, count: count.fold_into(key))
    key, numbers = make(3), [0, 1, 12, 2**32 - 1, 2**32, 2**32 + 12, 2**33 + 12]
    folded = [fold(key, StepCount.of(number)) for number in numbers]
    data = [np.asarray(jax.random.key_data(k) if make is jax.random.key else k).tolist() for k in folded]
    for number, found in zip(numbers[:4], folded[:4], strict=True):
        expected = jax.random.fold_in(key, jnp.uint32(number))
        assert jax.random.bits(found) == jax.random.bits(expected)
    assert len({tuple(x) for x in data}) == len(numbers)
