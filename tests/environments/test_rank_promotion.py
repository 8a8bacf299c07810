"""Tasks broadcast explicitly: users may make it an error that JAX promotes ranks (`jax_numpy_rank_promotion`)."""

import jax
import pytest

from memorax.environments import make, registered


@pytest.mark.parametrize("name", [card.id for card in registered()])
def test_a_task_promotes_no_ranks(name):
    env, params = make(name)

    def play(key):
        observation, state = env.reset(key, params)
        outcome = env.step(key, state, env.action_space(params).sample(key), params)
        try:
            return observation, outcome, env.render(state, params)
        except (AttributeError, NotImplementedError):  # not every task has a picture
            return observation, outcome

    with jax.numpy_rank_promotion("raise"):
        jax.eval_shape(play, jax.random.key(0))
