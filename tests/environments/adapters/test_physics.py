"""Brax and MuJoCo Playground beside the libraries driven by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.environments.adapters.by_hand import Library, compare, make_or_skip, trains
from tests.experiment.policies import make_policy

from memorax.experiment.play import record_episodes, write_film
from memorax.testing import check_environment

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(900)]

PENDULUM = ("brax::inverted_pendulum", {"backend": "spring", "max_steps": 15})
CARTPOLE = ("playground::CartpoleBalance", {"max_steps": 15, "impl": "jax"})


def by_hand(raw):
    def reset(key):
        state = raw.reset(key)
        return state.obs, (state, jnp.int32(0))

    def step(key, state, action):
        inner, time = state
        inner = raw.step(inner, action)
        return inner.obs, (inner, time + 1), inner.reward, inner.done == 1, time + 1 >= 15

    return Library(reset, step)


def test_brax_steps_like_the_library():
    env, params = make_or_skip(PENDULUM[0], **PENDULUM[1])
    from brax import envs

    assert (
        compare(env, params, by_hand(envs.get_environment("inverted_pendulum", backend="spring")), tolerance=1e-4) > 12
    )


def test_episodes_of_brax_are_pages(tmp_path):
    make_or_skip(PENDULUM[0], **PENDULUM[1])
    policy = make_policy(env=PENDULUM[0], env_options=PENDULUM[1])
    episodes = record_episodes(policy, 2, max_steps=4)
    page = write_film(policy, episodes, tmp_path / "play.html").read_text()
    assert page.count("<iframe") == page.count("</iframe>") == 2
    assert page.count("brax-viewer") >= 2
    assert page.count("<tr>") == 2 * (1 + 4)
    assert 'src="data:image/png' in page


def test_playground_steps_like_the_library():
    env, params = make_or_skip(CARTPOLE[0], **CARTPOLE[1])
    from mujoco_playground import registry

    raw = registry.load("CartpoleBalance", config_overrides={"impl": "jax"})
    assert compare(env, params, by_hand(raw), tolerance=1e-4) > 12


@pytest.mark.parametrize(("name", "options"), [PENDULUM, CARTPOLE])
def test_contract(name, options):
    env, params = make_or_skip(name, **options)
    check_environment(env, params, steps=60)
    assert env.horizon(params) == 15


def test_every_episode_starts_anew():
    """The library's own wrapper would start all of them from the same state."""
    env, params = make_or_skip(PENDULUM[0], **PENDULUM[1])

    def act(state, key):
        observation, state, _, terminated, truncated, _ = env.step(key, state, jnp.zeros(1), params)
        return state, (observation, terminated | truncated)

    state = env.reset(jax.random.key(0), params)[1]
    observation, done = jax.jit(lambda s: jax.lax.scan(act, s, jax.random.split(jax.random.key(1), 60))[1])(state)
    starts = np.asarray(observation)[np.asarray(done)]
    assert len(starts) >= 4
    assert len(np.unique(starts, axis=0)) == len(starts)


@pytest.mark.parametrize(("name", "options"), [PENDULUM, CARTPOLE])
def test_agents_train(name, options, tmp_path):
    make_or_skip(name, **options)
    trains(name, tmp_path, **options)
