"""Running means and variances against those of all samples at once."""

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings

from memorax.objectives import RunningStatistics

UPDATE = jax.jit(RunningStatistics.update)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 3), min_size=1, max_size=12), st.integers(0, 1000), st.sampled_from([0.0, 30.0]))
def test_batches_of_any_size_give_mean_and_variance_of_all_samples(sizes, seed, offset):
    rng = np.random.default_rng(seed)
    samples = {"a": offset + rng.normal(size=(sum(sizes), 5)), "b": 7 * rng.normal(size=(sum(sizes), 2, 3))}
    statistics = RunningStatistics.start({"a": jnp.zeros(5), "b": jnp.zeros((2, 3))})
    begin = 0
    for size in sizes:
        batch = {name: jnp.asarray(x[begin : begin + size], jnp.float32) for name, x in samples.items()}
        statistics, begin = UPDATE(statistics, batch), begin + size
    assert statistics.count == sum(sizes)
    for name, x in samples.items():
        np.testing.assert_allclose(statistics.mean[name], x.mean(axis=0), rtol=1e-4, atol=1e-4)
        variance = x.var(axis=0, ddof=1) if len(x) > 1 else np.zeros(x.shape[1:])
        np.testing.assert_allclose(statistics.variance[name], variance, rtol=1e-3, atol=1e-4)


def test_they_start_from_nothing():
    first = jnp.asarray([[3.0, -50.0]])
    statistics = UPDATE(RunningStatistics.start(first[0]), first)
    np.testing.assert_array_equal(statistics.mean, first[0])
    np.testing.assert_array_equal(statistics.deviation(), [1.0, 1.0])
    second = UPDATE(statistics, jnp.asarray([[5.0, -50.0]]))
    np.testing.assert_allclose(second.deviation(), [2.0**0.5, 1.0], rtol=1e-6)  # what did not vary is divided by one


@pytest.mark.parametrize("count", [2**25 - 1, 2**31])
def test_they_neither_shrink_nor_grow_where_a_step_is_below_the_precision(count):
    statistics = RunningStatistics(jnp.uint32(count), jnp.float32(1.0), jnp.float32(4.0))
    samples = 1.0 + 2.0 * jax.random.normal(jax.random.key(0), (20_000, 1))
    after, _ = jax.lax.scan(lambda s, x: (s.update(x), None), statistics, samples)
    np.testing.assert_allclose([after.mean, after.variance], [1.0, 4.0], rtol=1e-3)
    assert int(after.count) == count + 20_000
    assert after.count.dtype == jnp.uint32


def test_the_count_stays_at_its_largest_value_and_keeps_the_statistics():
    statistics = RunningStatistics(jnp.uint32(2**32 - 100), jnp.float32([5.0]), jnp.float32([4.0]))
    after = UPDATE(UPDATE(statistics, jnp.full((512, 1), 5.0)), jnp.full((512, 1), 5.0))
    assert int(after.count) == 2**32 - 1
    np.testing.assert_allclose([after.mean[0], after.variance[0]], [5.0, 4.0], rtol=1e-5)


def test_statistics_of_bfloat16_samples_are_kept_in_float32():
    statistics = RunningStatistics.start(jnp.zeros(1, jnp.bfloat16))
    for sample in [3.0] * 4 + [10.0] * 396:
        statistics = UPDATE(statistics, jnp.full((32, 1), sample, jnp.bfloat16))
    assert statistics.mean.dtype == jnp.float32
    np.testing.assert_allclose(statistics.mean[0], (4 * 3.0 + 396 * 10.0) / 400, rtol=1e-4)
