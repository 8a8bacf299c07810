import jax
import jax.numpy as jnp
import numpy as np
import pytest

from memorax.experiment.run.metrics import diagnose, reduce_logs, rows

LEARNER = {"w": jnp.zeros(3)}


def reduce(logs, learner=LEARNER):
    """The interval of a single seed, on the host, with its axis of seeds."""
    interval = jax.jit(reduce_logs)(jax.tree.map(jnp.asarray, logs), learner)
    return jax.device_get(jax.tree.map(lambda x: x[None], interval))


def episode_logs(ended, returns, lengths):
    return {
        "returned_episode": np.array(ended),
        "returned_episode_returns": np.array(returns, np.float32),
        "returned_episode_lengths": np.array(lengths, np.int32),
    }


def row(logs):
    return rows(reduce(logs), 64, [5], {"time/elapsed_seconds": 1.5})[0]


def test_returns_are_averaged_over_the_episodes_that_ended():
    ended = [[True, False], [False, False], [True, True]]
    # Where no episode ended the log still holds an older one, which must not count.
    logs = episode_logs(ended, [[1.0, 99.0], [99.0, 99.0], [2.0, 6.0]], [[10, 99], [99, 99], [20, 60]])
    assert row(logs) == {
        "step": 64,
        "seed": 5,
        "episode/count": 3,
        "episode/length": 30.0,
        "episode/return": 3.0,
        "time/elapsed_seconds": 1.5,
    }


def test_what_has_no_value_is_absent():
    logs = episode_logs([[False]], [[7.0]], [[7]]) | {"losses/a": np.array([np.nan, np.nan], np.float32)}
    assert row(logs) == {"step": 64, "seed": 5, "episode/count": 0, "time/elapsed_seconds": 1.5}


def test_nan_means_no_value_in_an_average():
    assert row({"losses/a": np.array([1.0, np.nan, 4.0], np.float32)})["losses/a"] == 2.5


def test_a_number_has_no_more_digits_than_float32_knows():
    assert row({"losses/a": np.array([0.1], np.float32)})["losses/a"] == 0.1


def test_numbers_are_python_numbers():
    kinds = {type(value) for value in row(episode_logs([[True]], [[7.0]], [[7]])).values()}
    assert kinds == {int, float}


def test_nothing_is_wrong_with_finite_learners():
    interval = reduce({"losses/a": np.array([1.0, np.nan], np.float32)})
    assert diagnose(interval, LEARNER, (0, 24), [5]) is None


def test_a_metric_that_never_had_a_value_is_not_suspected():
    logs = {"losses/a_never": np.full(2, np.nan, np.float32), "losses/lost": np.full(2, np.nan, np.float32)}
    learner = {"w": jnp.array([jnp.nan])}
    message = diagnose(reduce(logs, learner), learner, (24, 48), [5], frozenset({"losses/lost"}))
    assert message == "`losses/lost` of seed 5 became NaN or infinite in update 3 (step 36)"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_divergence_names_metric_seed_update_and_step(bad):
    learner = {"w": jnp.array([0.0, bad, 0.0])}
    logs = {
        "losses/late": np.array([1.0, 1.0, 1.0, bad], np.float32),
        "losses/early": np.array([1.0, 1.0, bad, bad], np.float32),
    }
    interval = reduce(logs, learner)
    message = diagnose(interval, learner, (120, 120 + 4 * 12), [5])
    assert message == "`losses/early` of seed 5 became NaN or infinite in update 13 (step 156)"


def test_an_infinite_loss_is_enough():
    interval = reduce({"losses/a": np.array([1.0, np.inf], np.float32)})
    assert "`losses/a` of seed 5" in diagnose(interval, LEARNER, (0, 24), [5])


def test_parameters_are_named_where_no_metric_tells():
    learner = {"actor": {"kernel": jnp.array([[1.0, jnp.nan]])}}
    interval = reduce({"losses/a": np.array([1.0, 2.0], np.float32)}, {"kernel": learner["actor"]["kernel"]})
    message = diagnose(interval, learner, (0, 24), [5])
    assert message == "`actor/kernel` of seed 5 became NaN or infinite between steps 0 and 24"


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_return_that_is_not_finite_is_named(bad):
    logs = episode_logs([[True]], [[bad]], [[7]]) | {"losses/a": np.array([1.0, 2.0], np.float32)}
    message = diagnose(reduce(logs), LEARNER, (24, 48), [5])
    assert message == "`episode/return` of seed 5 became NaN or infinite between steps 24 and 48"
