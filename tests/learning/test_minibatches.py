import jax
import jax.numpy as jnp
import numpy as np
import pytest

from memorax.acting import crosses, update_schedule
from memorax.learning.minibatches import as_single_steps, minibatch_indices, take


@pytest.mark.parametrize(
    ("num_envs", "train_frequency", "expected"),
    [(8, 4, (1, 2)), (8, 10, (5, 4)), (8, 1, (1, 8)), (10, 10, (1, 1)), (3, 7, (7, 3))],
)
def test_one_update_per_train_frequency_transitions(num_envs, train_frequency, expected):
    steps, updates = update_schedule(num_envs, train_frequency)
    assert (steps, updates) == expected
    assert steps * num_envs == updates * train_frequency


@pytest.mark.parametrize("stride", [1, 4, 10, 24])
@pytest.mark.parametrize("period", [1, 7, 24, 100])
def test_a_target_is_refreshed_whenever_a_multiple_of_the_period_is_passed(stride, period):
    updates = np.arange(200)
    expected = (updates + 1) * stride // period > updates * stride // period
    np.testing.assert_array_equal(crosses(jnp.asarray(updates * stride, jnp.uint32), stride, period), expected)


def test_crossing_does_not_overflow_late_in_a_run():
    assert crosses(jnp.uint32(4_000_000_000 - 4), 4, 1_000_000)
    assert not crosses(jnp.uint32(4_000_000_000), 4, 1_000_000)


def test_minibatches_deal_every_sequence_once():
    indices = minibatch_indices(jax.random.key(0), 12, 3)
    assert indices.shape == (3, 4)
    np.testing.assert_array_equal(np.sort(indices.ravel()), np.arange(12))
    assert not (indices == minibatch_indices(jax.random.key(1), 12, 3)).all()


def test_single_steps_keep_step_and_content_together():
    batch = {"step": jnp.arange(6).reshape(2, 3), "row": jnp.repeat(jnp.arange(2), 3).reshape(2, 3, 1)}
    single = as_single_steps(batch)
    assert single["step"].shape == (6, 1)
    assert single["row"].shape == (6, 1, 1)
    np.testing.assert_array_equal(single["row"][:, 0, 0], single["step"][:, 0] // 3)
    np.testing.assert_array_equal(take(single, jnp.asarray([4, 1]))["step"][:, 0], [4, 1])
