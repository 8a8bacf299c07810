"""Losses of values that are numbers, atoms or histograms, against their definitions."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from memorax.learning.values import (
    NStepTargets,
    action_values,
    critic_loss,
    expected_values,
    first_steps,
    greedy_actions,
    greedy_values,
    temporal_differences,
    value_losses,
)
from memorax.networks.heads import BranchValues, C51Values, HLGaussValues
from memorax.objectives import cross_entropy, gaussian_histogram, project, rescale, unscale

BATCH, TIME, ATOMS = 2, 4, 9
VALUES = jnp.linspace(-2.0, 2.0, ATOMS)
GAMMA = 0.9


@pytest.fixture
def steps():
    rng = np.random.default_rng(0)
    reward = rng.normal(size=(BATCH, TIME)).astype(np.float32)
    terminated = np.zeros((BATCH, TIME), bool)
    cut = np.zeros((BATCH, TIME), bool)
    terminated[0, 1] = cut[1, 2] = True
    return reward, terminated, cut


def logits(seed, *shape):
    return jax.random.normal(jax.random.key(seed), (*shape, ATOMS))


def n_step(steps, n, **scales):
    reward, terminated, cut = steps
    return NStepTargets(jnp.asarray(reward), GAMMA * (1.0 - jnp.asarray(terminated)), jnp.asarray(cut), n, **scales)


def walk(steps, row, t, n):
    """Sum of rewards, discount, and the column that the return of step t bootstraps from."""
    reward, terminated, cut = steps
    total, factor, u = 0.0, 1.0, t
    while u < min(TIME, t + n) and not cut[row, u]:
        total += factor * reward[row, u]
        factor *= 0.0 if terminated[row, u] else GAMMA
        u += 1
        if factor == 0.0:
            break
    return total, factor, u


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("scales", [{}, {"scale": rescale, "unscale": unscale}], ids=["returns", "rescaled"])
def test_distributions_of_returns_are_bootstrapped_whole(steps, n, scales):
    output, following = C51Values(logits(1, BATCH, TIME), VALUES), C51Values(logits(2, BATCH, TIME), VALUES)
    loss, error = temporal_differences(output, following, n_step(steps, n, **scales))
    scale, inverse = scales.get("scale", lambda x: x), scales.get("unscale", lambda x: x)
    for row in range(BATCH):
        for t in range(TIME):
            if steps[2][row, t]:
                continue
            total, factor, u = walk(steps, row, t, n)
            returns = scale(jnp.asarray(total + factor * inverse(VALUES)))
            target = project(returns, following.probabilities[row, u - 1], VALUES)
            np.testing.assert_allclose(loss[row, t], cross_entropy(output.logits[row, t], target), rtol=1e-4)
            mean = (target * VALUES).sum() - output.mean()[row, t]
            np.testing.assert_allclose(error[row, t], mean, atol=1e-5)


@pytest.mark.parametrize("n", [1, 3])
def test_histograms_bootstrap_their_mean(steps, n):
    output, following = HLGaussValues(logits(1, BATCH, TIME), VALUES), HLGaussValues(logits(2, BATCH, TIME), VALUES)
    loss, error = temporal_differences(output, following, n_step(steps, n))
    for row in range(BATCH):
        for t in range(TIME):
            if steps[2][row, t]:
                continue
            total, factor, u = walk(steps, row, t, n)
            target = total + factor * following.mean()[row, u - 1]
            wanted = cross_entropy(output.logits[row, t], gaussian_histogram(target, VALUES))
            np.testing.assert_allclose(loss[row, t], wanted, rtol=1e-4)
            np.testing.assert_allclose(error[row, t], target - output.mean()[row, t], atol=1e-5)


@pytest.mark.parametrize("kind", [C51Values, HLGaussValues, None])
def test_targets_get_no_gradient(steps, kind):
    make = (lambda x: x.sum(-1)) if kind is None else (lambda x: kind(x, VALUES))

    def loss(following):
        return temporal_differences(make(logits(1, BATCH, TIME)), make(following), n_step(steps, 2))[0].sum()

    assert (jax.grad(loss)(logits(2, BATCH, TIME)) == 0.0).all()


def test_actions_are_chosen_from_scalars_and_distributions_alike():
    distribution = C51Values(logits(0, BATCH, TIME, 3), VALUES, jnp.ones((BATCH, TIME, 3), bool))
    action, scalars = jnp.asarray([[0, 2, 1, 1], [2, 2, 0, 1]]), expected_values(distribution)
    chosen, first = action_values(distribution, action), first_steps(distribution, 2)
    np.testing.assert_allclose(chosen.mean(), action_values(scalars, action), rtol=1e-6)
    np.testing.assert_allclose(chosen.logits[1, 0], distribution.logits[1, 0, 2])
    np.testing.assert_allclose(first.mean(), first_steps(scalars, 2), rtol=1e-6)


def test_numbers_have_half_the_squared_error():
    np.testing.assert_allclose(value_losses(jnp.asarray([1.0, -1.0]), jnp.asarray([3.0, -1.0])), [2.0, 0.0])


def test_critics_are_clipped_only_where_they_give_numbers():
    histogram, old, target = HLGaussValues(logits(0, 1, 2), VALUES), jnp.zeros((1, 2)), jnp.ones((1, 2))
    weight = jnp.asarray([[1.0, 0.0]])
    wanted = cross_entropy(histogram.logits, gaussian_histogram(target, VALUES))[0, 0]
    for clip in (None, 0.1):
        np.testing.assert_allclose(critic_loss(histogram, old, target, weight, clip), wanted, rtol=1e-6)
    value = jnp.full((1, 2), 0.5)
    np.testing.assert_allclose(critic_loss(value, old, target, weight, None), 0.5 * 0.5**2)
    np.testing.assert_allclose(critic_loss(value, old, target, weight, 0.1), 0.5 * 0.9**2)


def test_branches_learn_towards_one_target_that_averages_their_greedy_values():
    """As in BDQ: the target is the mean over branches, the loss the mean of their squared errors to it."""
    rng = np.random.default_rng(0)
    online, target = ([rng.normal(size=(2, 4, n)).astype(np.float32) for n in (2, 3, 5)] for _ in range(2))
    action = np.stack([rng.integers(0, n, (2, 4)) for n in (2, 3, 5)], -1)
    values, target_values = BranchValues(tuple(map(jnp.asarray, online))), BranchValues(tuple(map(jnp.asarray, target)))
    greedy = greedy_actions(values)
    np.testing.assert_array_equal(greedy, np.stack([x.argmax(-1) for x in online], -1))
    np.testing.assert_allclose(greedy_values(values), np.mean([x.max(-1) for x in online], axis=0), rtol=1e-6)

    reward, gamma = rng.normal(size=(2, 3)).astype(np.float32), 0.9
    targets = NStepTargets(reward, np.full((2, 3), gamma, np.float32), np.zeros((2, 3), bool), n=1)
    chosen = action_values(first_steps(values, 3), action[:, :3])
    following = jax.tree.map(lambda x: x[:, 1:], action_values(target_values, greedy))
    losses, errors = temporal_differences(chosen, following, targets)
    for row, t in itertools.product(range(2), range(3)):
        following = np.mean([target[d][row, t + 1, greedy[row, t + 1, d]] for d in range(3)])
        aim = reward[row, t] + gamma * following
        each = np.array([aim - online[d][row, t, action[row, t, d]] for d in range(3)])
        np.testing.assert_allclose(losses[row, t], np.mean(0.5 * each**2), rtol=1e-5)
        np.testing.assert_allclose(errors[row, t], np.mean(np.abs(each)), rtol=1e-5)
