"""POPGym Arcade beside the library driven by hand; it is installed alone, since it replaces the package of gymnax."""

import jax
import numpy as np
import pytest
from tests.environments.adapters.by_hand import Library, compare, make_or_skip, trains

from memorax.testing import check_environment

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(900)]

COUNT = ("popgym_arcade::CountRecallEasy", {})


@pytest.mark.parametrize("partial_obs", [True, False])
def test_it_steps_like_the_library(partial_obs):
    env, params = make_or_skip(COUNT[0], **COUNT[1], partial_obs=partial_obs)
    import popgym_arcade

    raw, raw_params = popgym_arcade.make("CountRecallEasy", partial_obs=partial_obs, **COUNT[1])

    def step(key, state, action):
        observation, state, reward, done, info = raw.step_env(key, state, action, raw_params)
        return observation, state, reward, done & ~info["truncated"], info["truncated"]

    assert compare(env, params, Library(lambda key: raw.reset_env(key, raw_params), step)) >= 1


def test_the_twins_differ_in_what_is_shown():
    hidden, shown = (make_or_skip(COUNT[0], partial_obs=partial_obs)[0] for partial_obs in (True, False))

    def play(env):
        observation, state = env.reset(jax.random.key(0))
        for t in range(8):
            observation, state, reward, *_ = env.step(jax.random.key(t), state, jax.numpy.int32(4))
        return np.asarray(observation), float(reward)

    (less, reward), (more, same_reward) = play(hidden), play(shown)
    assert reward == same_reward
    assert (less != more).any()


def test_contract():
    env, params = make_or_skip(COUNT[0], **COUNT[1])
    check_environment(env, params, steps=60)
    observation, state = env.reset(jax.random.key(0), params)
    np.testing.assert_array_equal(env.render(state, params), observation)


def test_agents_train(tmp_path):
    make_or_skip(COUNT[0], **COUNT[1])
    trains(COUNT[0], tmp_path, **COUNT[1])
