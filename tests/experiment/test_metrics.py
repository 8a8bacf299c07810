import jax
import jax.numpy as jnp
import numpy as np

from memorax import lox
from memorax.acting import faults
from memorax.experiment.run.metrics import reduce_logs, rows

LEARNER = {"w": jnp.zeros(3)}


def reduce(logs, learner=LEARNER, present=None):
    """The interval of a single seed, on the host, with its axis of seeds."""
    logs = lox.Logs(jax.tree.map(jnp.asarray, logs), present or {})
    interval = jax.jit(reduce_logs)(logs, learner)
    return jax.device_get(jax.tree.map(lambda x: x[None], interval))


def episode_logs(ended, returns, lengths):
    return {
        "returned_episode": np.array(ended),
        "returned_episode_returns": np.array(returns, np.float32),
        "returned_episode_lengths": np.array(lengths, np.int32),
    }


def row(logs, **options):
    return rows(reduce(logs, **options), 64, [5], {"time/elapsed_seconds": 1.5})[0]


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


def test_what_was_not_logged_has_no_part():
    logs = {"losses/a": np.array([0.0, 3.0, 0.0, 5.0], np.float32), "losses/b": np.zeros((2, 3), np.float32)}
    present = {"losses/a": jnp.array([False, True, False, True]), "losses/b": jnp.zeros(2, bool)}
    assert row(logs, present=present) == {"step": 64, "seed": 5, "losses/a": 4.0, "time/elapsed_seconds": 1.5}
    bad = reduce({"losses/a": np.array([np.nan, 3.0, np.inf], np.float32)}, present={"losses/a": jnp.arange(3) > 0})
    assert bad.first_bad["losses/a"] == [2]


def test_faults_are_no_metrics():
    steps = np.zeros((4, 3), np.int8)
    steps[2] = [0, faults.REWARD, faults.ACTED]
    steps[3, 0] = faults.SEEN
    logs = {faults.STEP: steps, faults.LEARNER: np.array([False, True])}
    assert row(logs) == {"step": 64, "seed": 5, "time/elapsed_seconds": 1.5}
    interval = reduce(logs)
    assert (interval.first_bad[faults.STEP], interval.first_bad[faults.LEARNER]) == ([2], [1])
    assert interval.fault == [faults.ACTED]
    assert reduce({faults.STEP: np.zeros((4, 3), np.int8)}).fault == [faults.NO_FAULT]
