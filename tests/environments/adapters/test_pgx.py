"""Pgx beside the library driven by hand: a game of one player, and one of two against opponents."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.environments.adapters.by_hand import Library, compare, make_or_skip, trains

from memorax.testing import check_environment

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

BREAKOUT = ("pgx::minatar-breakout", {"max_steps": 30})
TIC_TAC_TOE = ("pgx::tic_tac_toe", {})


def test_a_game_of_one_steps_like_the_library():
    env, params = make_or_skip("pgx::minatar-breakout")
    import pgx

    raw = pgx.make("minatar-breakout")

    def look(state):
        return {"action_mask": state.legal_action_mask, "observation": state.observation}

    def reset(key):
        state = raw.init(key)
        return look(state), state

    def step(key, state, action):
        state = raw.step(state, action, key)
        return look(state), state, state.rewards[0], state.terminated, state.truncated

    assert compare(env, params, Library(reset, step)) > 3


def take_first(key, observation, action_mask):
    """A fixed opponent: the first legal action."""
    return jnp.argmax(action_mask)


def test_a_game_of_two_steps_like_the_library():
    env, params = make_or_skip(TIC_TAC_TOE[0], opponent=take_first)
    import pgx

    raw = pgx.make("tic_tac_toe")

    def answer(state):
        waits = (state.current_player != 0) & ~state.terminated
        moved = raw.step(state, jnp.argmax(state.legal_action_mask))
        return jax.tree.map(lambda a, b: jnp.where(waits, a, b), moved, state), jnp.where(waits, moved.rewards[0], 0.0)

    def look(state):
        seen = raw.observe(state.replace(current_player=jnp.int32(0)))
        return {"action_mask": state.legal_action_mask, "observation": seen}

    def reset(key):
        state, _ = answer(raw.init(key))
        return look(state), state

    def step(key, state, action):
        state = raw.step(state, action)
        first = state.rewards[0]
        state, second = answer(state)
        return look(state), state, first + second, state.terminated, jnp.zeros((), bool)

    assert compare(env, params, Library(reset, step)) > 30


@pytest.mark.parametrize(("name", "options"), [BREAKOUT, TIC_TAC_TOE])
def test_contract(name, options):
    env, params = make_or_skip(name, **options)
    check_environment(env, params, steps=60)


def test_a_limit_of_steps_truncates():
    env, params = make_or_skip("pgx::minatar-freeway", max_steps=10)
    assert env.horizon(params) == 10

    def act(state, key):
        return env.step(key, state, jnp.int32(0), params)[1:5]

    def walk(state, key):
        state, *outcome = act(state, key)
        return state, outcome[1:]

    state = env.reset(jax.random.key(0), params)[1]
    terminated, truncated = jax.lax.scan(walk, state, jax.random.split(jax.random.key(1), 25))[1]
    assert not terminated.any()
    np.testing.assert_array_equal(np.flatnonzero(truncated), [9, 19])


@pytest.mark.parametrize(("name", "options"), [BREAKOUT, ("pgx::kuhn_poker", {})])
def test_agents_train(name, options, tmp_path):
    make_or_skip(name, **options)
    trains(name, tmp_path, **options)


def test_opponents_are_checked():
    with pytest.raises(ValueError, match="`opponent` must be `random`, `self` or a function, got `best`"):
        make_or_skip(TIC_TAC_TOE[0], opponent="best")
    with pytest.raises(TypeError, match="`opponent` must be `random`, `self` or a function, got 3"):
        make_or_skip(TIC_TAC_TOE[0], opponent=3)


def test_self_play_gives_every_seat_an_agent(tmp_path):
    env, params = make_or_skip("pgx::tic_tac_toe", opponent="self")
    import pgx

    raw = pgx.make("tic_tac_toe")
    key = jax.random.key(3)
    observation, state = env.reset(key, params)
    expected = raw.init(key)
    step, by_hand = jax.jit(env.step), jax.jit(raw.step)
    for t in range(40):
        mover = int(expected.current_player)
        mask = np.asarray(observation["action_mask"])
        np.testing.assert_array_equal(mask[mover], expected.legal_action_mask)
        np.testing.assert_array_equal(np.flatnonzero(mask[1 - mover]), [0])
        np.testing.assert_array_equal(observation["observation"][mover], expected.observation)
        step_key, reset_key = jax.random.split(jax.random.key(t))
        legal = np.flatnonzero(mask[mover])
        actions = jnp.full(2, 8).at[mover].set(legal[t % len(legal)])
        observation, state, reward, terminated, truncated, _ = step(jax.random.key(t), state, actions, params)
        expected = by_hand(expected, actions[mover], step_key)
        np.testing.assert_array_equal(reward, expected.rewards)
        assert (terminated == expected.terminated).all()
        assert not truncated.any()
        if terminated.all():
            expected = raw.init(reset_key)


def test_self_play_trains(tmp_path):
    make_or_skip("pgx::kuhn_poker")
    trains("pgx::kuhn_poker", tmp_path, algorithm="mappo", opponent="self")
