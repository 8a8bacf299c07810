"""Craftax-Classic beside the library driven by hand."""

import jax
import numpy as np
import pytest
from tests.environments.adapters.by_hand import Library, compare, make_or_skip, trains

from memorax.testing import check_environment

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(1200)]

CLASSIC = ("craftax::Craftax-Classic-Symbolic-v1", {"max_timesteps": 25})


def test_it_steps_like_the_library():
    env, params = make_or_skip(CLASSIC[0], **CLASSIC[1])
    from craftax.craftax_env import make_craftax_env_from_name

    raw = make_craftax_env_from_name("Craftax-Classic-Symbolic-v1", auto_reset=False)

    def step(key, state, action):
        observation, state, reward, done, _ = raw.step_env(key, state, action, params)
        late = state.timestep >= 25
        return observation, state, reward, done & ~late, late

    # Nobody dies within 25 steps, so that every end is the limit. The light of the day is a cosine, in the last bit.
    assert compare(env, params, Library(lambda key: raw.reset_env(key, params), step), tolerance=1e-6) == 8


def test_death_is_a_termination_and_the_limit_a_truncation():
    env, params = make_or_skip(CLASSIC[0], **CLASSIC[1])
    _, state = env.reset(jax.random.key(0), params)
    dying = state.replace(inner=state.inner.replace(player_health=0))
    late = state.replace(inner=state.inner.replace(timestep=24))
    for start, flags in ((dying, (True, False)), (late, (False, True))):
        step = jax.jit(lambda s: env.step(jax.random.key(1), s, jax.numpy.int32(0), params))(start)
        assert (bool(step[3]), bool(step[4])) == flags


def test_contract():
    env, params = make_or_skip(CLASSIC[0], **CLASSIC[1])
    check_environment(env, params, steps=60)
    _, state = env.reset(jax.random.key(0), params)
    picture = np.asarray(env.render(state, params))
    assert (picture.dtype, picture.ndim, picture.shape[-1]) == (np.uint8, 3, 3)
    assert picture.std() > 0


def test_agents_train(tmp_path):
    make_or_skip(CLASSIC[0], **CLASSIC[1])
    trains(CLASSIC[0], tmp_path, **CLASSIC[1])
