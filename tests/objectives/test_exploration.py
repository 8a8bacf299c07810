import jax
import jax.numpy as jnp
import numpy as np

from memorax.objectives import epsilon_greedy, epsilon_greedy_branches, epsilon_per_actor

VALUES = jnp.tile(jnp.asarray([0.5, 3.0, -1.0, 2.0]), (6000, 1))


def frequencies(actions):
    return np.bincount(np.asarray(actions), minlength=4) / len(actions)


def test_the_best_action_without_exploration(key):
    actions = epsilon_greedy(key, VALUES, 0.0)
    assert (actions.dtype, actions.shape) == (jnp.int32, (6000,))
    assert (actions == 1).all()


def test_all_actions_alike_with_nothing_else(key):
    np.testing.assert_allclose(frequencies(epsilon_greedy(key, VALUES, 1.0)), 0.25, atol=0.03)


def test_epsilon_is_the_probability_of_any_action(key):
    np.testing.assert_allclose(frequencies(epsilon_greedy(key, VALUES, 0.4)), [0.1, 0.7, 0.1, 0.1], atol=0.03)


def test_every_row_has_its_own_epsilon(key):
    epsilon = jnp.where(jnp.arange(6000) < 3000, 0.0, 1.0)
    actions = epsilon_greedy(key, VALUES, epsilon)
    assert (actions[:3000] == 1).all()
    np.testing.assert_allclose(frequencies(actions[3000:]), 0.25, atol=0.04)


def test_forbidden_actions_are_never_tried(key):
    allowed = jnp.asarray([True, True, False, False])
    actions = epsilon_greedy(key, VALUES, 1.0, jnp.tile(allowed, (6000, 1)))
    np.testing.assert_allclose(frequencies(actions), [0.5, 0.5, 0.0, 0.0], atol=0.03)


def test_which_rows_explore_says_nothing_about_what_they_do(key):
    # One key for both draws would tie the action to the chance.
    at_random = epsilon_greedy(key, VALUES, 0.5) != epsilon_greedy(key, VALUES, 0.0)
    rare = epsilon_greedy(key, VALUES, 1.0)[np.asarray(at_random)]
    assert (frequencies(rare)[[0, 2, 3]] > 0.28).all()


def test_epsilons_spread_over_the_environments():
    expected = [0.4 ** (1 + 7 * i / 4) for i in range(5)]
    np.testing.assert_allclose(epsilon_per_actor(5, 0.4, 7.0), expected, rtol=1e-5)
    np.testing.assert_allclose(epsilon_per_actor(1, 0.4, 7.0), [0.4], rtol=1e-6)


def test_branches_explore_all_at_once_and_only_what_is_allowed():
    branches = (jnp.array([0.0, 1.0]), jnp.array([2.0, 0.0, 1.0]))
    allowed = jnp.array([True, True, True, False, True])

    def draw(epsilon):
        keys = jax.random.split(jax.random.key(0), 6_000)
        return np.asarray(jax.vmap(lambda key: epsilon_greedy_branches(key, branches, epsilon, allowed))(keys))

    assert (draw(0.0) == [1, 0]).all()
    often = draw(0.5)
    assert not (often[:, 1] == 1).any()
    # Greedy in both with probability 1/2 + 1/2 * 1/4, and in one branch alone as often as chance has it.
    np.testing.assert_allclose((often == [1, 0]).all(-1).mean(), 0.625, atol=0.03)
    np.testing.assert_allclose(((often[:, 0] == 1) & (often[:, 1] == 2)).mean(), 0.125, atol=0.02)
    nothing = jax.vmap(lambda key: epsilon_greedy(key, jnp.zeros(3), 1.0, jnp.zeros(3, bool)))
    np.testing.assert_allclose(
        np.bincount(nothing(jax.random.split(jax.random.key(1), 6_000))) / 6_000, 1 / 3, atol=0.03
    )
