"""Returns against their definitions, written for reading."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from memorax.core.types import Timestep, Transition
from memorax.objectives import episode_ends, lambda_returns, n_step_returns

BATCH, TIME, GAMMA = 5, 9, 0.9


def slow_n_step(reward, discount, cut, values, n, t):
    """Sum up to n rewards from step t on, one at a time."""
    total, weight = 0.0, 1.0
    for k in range(n):
        if t + k == len(reward):
            break
        if cut[t + k]:
            break
        total += weight * reward[t + k]
        weight *= discount[t + k]
    else:
        k = n
    return total + weight * values[t + k]


def slow_lambda(reward, discount, cut, values, lam, t):
    """Weigh the n-step returns of all n, of which there are as many as steps are left before a cut or the end."""
    left = len(reward) - t
    hidden = [k for k in range(left) if cut[t + k]]
    left = hidden[0] if hidden else left
    if left == 0:
        return values[t]
    weights = [(1 - lam) * lam ** (n - 1) for n in range(1, left)] + [lam ** (left - 1)]
    return sum(w * slow_n_step(reward, discount, cut, values, n, t) for n, w in enumerate(weights, start=1))


@pytest.fixture(params=range(4))
def sequences(request):
    """Random steps in which episodes end in every way, at the last step too."""
    rng = np.random.default_rng(request.param)
    terminated = rng.random((BATCH, TIME)) < 0.25
    cut = rng.random((BATCH, TIME)) < 0.25
    terminated[0, -1], cut[1, -1] = True, True
    terminated[2, 3] = cut[2, 3] = True
    reward, values = rng.normal(size=(BATCH, TIME)), rng.normal(size=(BATCH, TIME + 1))
    reward, discount, values = (jnp.asarray(x, jnp.float32) for x in (reward, GAMMA * (1 - terminated), values))
    return reward, discount, jnp.asarray(cut), values


@pytest.mark.parametrize("lam", [0.0, 0.7, 1.0])
def test_lambda_returns_are_the_weighted_n_step_returns(sequences, lam):
    reward, discount, cut, values = (np.asarray(x, np.float64) for x in sequences)
    rows = list(zip(reward, discount, cut, values, strict=True))
    expected = [[slow_lambda(*row, lam, t) for t in range(TIME)] for row in rows]
    np.testing.assert_allclose(lambda_returns(*sequences, lam), expected, atol=1e-5)


@pytest.mark.parametrize("n", [1, 3, TIME + 2])
def test_n_step_returns_are_their_definition(sequences, n):
    reward, discount, cut, values = (np.asarray(x, np.float64) for x in sequences)
    rows = list(zip(reward, discount, cut, values, strict=True))
    expected = [[slow_n_step(*row, n, t) for t in range(TIME)] for row in rows]
    np.testing.assert_allclose(n_step_returns(*sequences, n), expected, atol=1e-5)


def test_n_step_returns_need_a_step():
    zeros = jnp.zeros((1, 2))
    with pytest.raises(ValueError, match="`n` must be at least 1, got 0"):
        n_step_returns(zeros, zeros, zeros.astype(bool), jnp.zeros((1, 3)), 0)


def test_gradient_of_the_lambda_error_equals_finite_differences(sequences):
    reward, discount, cut, values = sequences
    weights = jnp.sin(jnp.arange(BATCH * TIME, dtype=jnp.float32)).reshape(BATCH, TIME)

    def error(values):
        return jnp.sum(weights * (lambda_returns(reward, discount, cut, values, 0.8) - values[:, :-1]))

    # The error is linear in the values, so a difference of any width is exact.
    direction = jnp.cos(jnp.arange(values.size, dtype=jnp.float32)).reshape(values.shape)
    slope = jnp.sum(jax.grad(error)(values) * direction)
    np.testing.assert_allclose(slope, (error(values + direction) - error(values - direction)) / 2, rtol=1e-4)


def transition(terminated, truncated, aux):
    flags = [jnp.asarray([x]) for x in (terminated, truncated)]
    zeros = jnp.zeros((1, len(terminated)))
    return Transition(Timestep(zeros, zeros, zeros, zeros > 0), zeros, zeros + 1.0, *flags, aux=aux)


def test_a_truncated_step_folds_the_value_of_its_final_observation_into_the_reward():
    steps = transition([False, True, False, True], [False, False, True, True], {"bootstrap": jnp.full((1, 4), 7.0)})
    reward, discount, cut = episode_ends(steps, GAMMA)
    np.testing.assert_allclose(reward, [[1, 1, 1 + GAMMA * 7, 1]], rtol=1e-6)
    np.testing.assert_allclose(discount, [[GAMMA, 0, 0, 0]], rtol=1e-6)
    assert not cut.any()


def test_a_truncated_step_without_that_value_is_cut_unless_it_terminated_too():
    steps = transition([False, True, False, True], [False, False, True, True], {})
    reward, discount, cut = episode_ends(steps, GAMMA)
    np.testing.assert_allclose(reward, [[1, 1, 1, 1]])
    np.testing.assert_allclose(discount, [[GAMMA, 0, GAMMA, 0]], rtol=1e-6)
    np.testing.assert_array_equal(cut, [[False, False, True, False]])


@pytest.mark.parametrize("aux", [{}, {"bootstrap": jnp.full((1, 3), 1 / (1 - GAMMA))}], ids=["mask", "fold"])
def test_an_endless_task_cut_by_the_clock_is_worth_what_it_would_pay_forever(aux):
    steps = transition([False] * 3, [False, True, False], aux)
    values = jnp.full((1, 4), 1 / (1 - GAMMA))
    np.testing.assert_allclose(lambda_returns(*episode_ends(steps, GAMMA), values, 0.95), values[:, 1:], rtol=1e-5)
