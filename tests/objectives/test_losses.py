"""Losses on numbers small enough to check by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from memorax import objectives


def test_the_clipped_policy_loss_stops_rewarding_beyond_the_range():
    log_ratio = jnp.log(jnp.asarray([[1.5, 0.5, 1.1]]))
    advantage, weight = jnp.asarray([[2.0, -1.0, 3.0]]), jnp.ones((1, 3))
    loss = objectives.clipped_policy_loss(log_ratio, advantage, weight, 0.2)
    np.testing.assert_allclose(loss, -(1.2 * 2 + 0.8 * -1 + 1.1 * 3) / 3, rtol=1e-6)
    slope = jax.grad(objectives.clipped_policy_loss)(log_ratio, advantage, weight, 0.2)
    np.testing.assert_allclose(slope, [[0.0, 0.0, -1.1]], atol=1e-6)


def test_a_worse_policy_is_punished_without_limit():
    log_ratio = jnp.log(jnp.asarray([[0.5, 1.5]]))
    loss = objectives.clipped_policy_loss(log_ratio, jnp.asarray([[2.0, -1.0]]), jnp.ones((1, 2)), 0.2)
    np.testing.assert_allclose(loss, -(0.5 * 2 + 1.5 * -1) / 2, rtol=1e-6)


def test_a_ratio_that_overflows_leaves_the_gradient_finite():
    log_ratio, ones = jnp.asarray([[200.0, 0.0]]), jnp.ones((1, 2))
    slope = jax.grad(objectives.clipped_policy_loss)(log_ratio, ones, ones, 0.2)
    np.testing.assert_allclose(slope, [[0.0, -0.5]], atol=1e-6)


def test_steps_of_no_weight_count_for_nothing_even_where_they_are_not_finite():
    x, weight = jnp.asarray([[1.0, jnp.nan, 3.0]]), jnp.asarray([[1.0, 0.0, 1.0]])
    assert objectives.weighted_mean(x, weight) == 2.0
    assert objectives.weighted_mean(x, jnp.zeros((1, 3))) == 0.0


def test_standardizing_uses_only_the_steps_that_count():
    x, weight = jnp.asarray([[1.0, 100.0, 3.0]]), jnp.asarray([[1.0, 0.0, 1.0]])
    np.testing.assert_allclose(objectives.standardize(x, weight)[0, ::2], [-1.0, 1.0], atol=1e-5)


def test_the_kl_estimate_is_never_negative_and_near_the_truth():
    old, new = jnp.asarray([0.5, 0.3, 0.2]), jnp.asarray([0.4, 0.4, 0.2])
    estimate = objectives.kl_estimate(jnp.log(new / old), old * 1.0)
    np.testing.assert_allclose(estimate, jnp.sum(old * jnp.log(old / new)), rtol=1e-5)
    log_ratio = jnp.linspace(-2, 2, 41)
    assert all(objectives.kl_estimate(x[None], jnp.ones(1)) >= 0 for x in log_ratio)


def test_the_clip_fraction_counts_ratios_outside_the_range():
    log_ratio = jnp.log(jnp.asarray([0.7, 0.9, 1.1, 1.3]))
    assert objectives.clip_fraction(log_ratio, jnp.ones(4), 0.2) == 0.5


def test_the_value_losses_by_hand():
    value, old, target, weight = (jnp.asarray([[x]]) for x in (3.0, 1.0, 2.5, 1.0))
    np.testing.assert_allclose(objectives.value_loss(value, target, weight), 0.5 * 0.25)
    # Clipped to 1.2, the error is 1.3 and larger than the unclipped 0.5.
    np.testing.assert_allclose(objectives.clipped_value_loss(value, old, target, weight, 0.2), 0.5 * 1.69, rtol=1e-5)


@pytest.mark.parametrize(("prediction", "expected"), [([1.0, 2, 3], 1.0), ([2.0, 2, 2], 0.0), ([3.0, 2, 1], -3.0)])
def test_explained_variance(prediction, expected):
    target, weight = jnp.asarray([1.0, 2, 3]), jnp.ones(3)
    explained = objectives.explained_variance(jnp.asarray(prediction), target, weight)
    np.testing.assert_allclose(explained, expected, atol=1e-5)
