import numpy as np
import pytest
from scipy import stats

from memorax.experiment import bootstrap_interval, interquartile_mean
from memorax.experiment.report.statistics import mean, summarize


@pytest.mark.parametrize("runs", [1, 2, 3, 4, 5, 8, 11])
def test_interquartile_mean_is_the_mean_without_both_outer_quarters(runs):
    scores = np.random.default_rng(runs).normal(size=(3, runs))
    np.testing.assert_allclose(interquartile_mean(scores), stats.trim_mean(scores, 0.25, axis=-1))


def test_interquartile_mean_ignores_one_lucky_run():
    assert interquartile_mean(np.array([1.0, 2.0, 3.0, 1000.0])) == 2.5


def test_bootstrap_interval_agrees_with_scipy():
    scores = np.random.default_rng(0).gamma(2.0, size=23)
    theirs = stats.bootstrap((scores,), np.mean, method="percentile", n_resamples=9999, rng=1).confidence_interval
    ours = bootstrap_interval(scores, mean, resamples=9999)
    np.testing.assert_allclose(ours, theirs, rtol=0.02)


def test_bootstrap_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(2)
    hits = [low <= 3.0 <= high for low, high in (bootstrap_interval(rng.normal(3.0, size=30)) for _ in range(200))]
    assert 0.88 < np.mean(hits) < 0.99


def test_bootstrap_draws_within_tasks():
    # Tasks far apart: drawing across them would make the interval as wide as the distance between them.
    scores = np.random.default_rng(3).normal(size=(10, 2)) + np.array([0.0, 1000.0])
    low, high = bootstrap_interval(scores)
    assert high - low < 3.0
    assert low < 500.0 < high


def test_one_run_has_no_interval():
    assert bootstrap_interval(np.array([0.4])) == (0.4, 0.4)  # the band of a curve has no width
    assert summarize(np.array([0.4])) == {"runs": 1, "mean": 0.4, "mean_interval_95": None} | {
        "iqm": 0.4,
        "iqm_interval_95": None,
    }


def test_the_same_scores_give_the_same_interval():
    scores = np.arange(6.0)
    assert bootstrap_interval(scores) == bootstrap_interval(scores)


@pytest.mark.parametrize("scores", [np.zeros(0), np.zeros((2, 3, 4)), np.float64(1.0)])
def test_scores_of_a_wrong_shape_are_refused(scores):
    with pytest.raises(ValueError, match=r"`scores` must be \[runs\] or \[runs, tasks\] and not empty, got shape"):
        bootstrap_interval(scores)


def test_confidence_outside_its_range_is_refused():
    with pytest.raises(ValueError, match=r"`confidence` must be in \(0, 1\), got 95"):
        bootstrap_interval(np.arange(3.0), confidence=95)
