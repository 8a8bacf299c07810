"""KeyToDoor: rooms by hand, and a policy without memory that gets through."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.fast_compile import jit

from memorax.environments import make

NORTH, SOUTH, WEST, EAST = range(4)
WALL, APPLE, KEY, DOOR, LIT = range(5)


def play(hidden, actions, **arguments):
    """Layers `[time, layer, 5, 5]`, rewards, places, and after which steps an end is told."""
    env, params = make("memory::KeyToDoor", **arguments)

    def run(hidden, actions):
        def act(state, action):
            observation, state, reward, terminated = env.transition(state, action, (), params)
            return state, (observation, reward, state.place, terminated)

        first, state = env.start(hidden, params)
        return first, jax.lax.scan(act, state, actions)[1]

    first, (later, rewards, places, ends) = jit(run)(hidden, jnp.array(actions))
    layers = np.concatenate([first[None], later]).reshape(-1, 5, 5, 5)
    return layers, np.asarray(rewards), np.asarray(places), np.flatnonzero(ends).tolist()


def hidden(agent=(3, 0), key=(1, 0), filled=True):
    return jnp.array(agent), jnp.array(key), jnp.full(22, filled)


THROUGH = [NORTH, NORTH] + [SOUTH] * 6 + [NORTH] + [NORTH] * 4


def test_a_key_opens_the_door():
    """Eight steps in the first room, one among apples, four to the door."""
    layers, rewards, places, ends = play(hidden(filled=False), THROUGH, explore=8, length=1, reward=4)
    np.testing.assert_array_equal(np.argwhere(layers[0, KEY]), [[0, 2]])
    np.testing.assert_array_equal(np.argwhere(layers[1, KEY]), [[1, 2]])
    assert not layers[2:, KEY].any()
    np.testing.assert_array_equal(np.flatnonzero(layers[:, LIT].all(axis=(1, 2))), [2])
    assert not layers[3:, LIT].any()
    # To the left of the first column and below the last row is wall.
    expected = np.zeros((5, 5))
    expected[:, :2] = expected[4] = 1
    np.testing.assert_array_equal(layers[0, WALL], expected)
    np.testing.assert_array_equal(places[[1, 5, 7, 8]], [[1, 0], [4, 0], [2, 4], [4, 2]])
    np.testing.assert_array_equal(np.argwhere(layers[11, DOOR]), [[0, 2]])
    np.testing.assert_array_equal(rewards, [0] * 12 + [5])
    assert ends == [12]


def test_without_the_key_the_door_is_a_wall():
    _, rewards, places, _ = play(hidden(key=(0, 4), filled=False), THROUGH, explore=8, length=1, reward=4)
    np.testing.assert_array_equal(places[-1], [1, 2])
    assert not rewards.any()


def test_the_door_takes_the_key():
    """Through the door, back, and again: paid once."""
    actions = [*THROUGH, SOUTH, NORTH]
    _, rewards, places, _ = play(hidden(filled=False), actions, explore=8, length=1, reward=6)
    np.testing.assert_array_equal(rewards, [0] * 12 + [5, 0, 0])
    np.testing.assert_array_equal(places[-3:], [[0, 2], [1, 2], [1, 2]])


def test_apples_grow_again():
    """West to an apple, back, and west again: the second time after one step, the third after twenty."""
    actions = [SOUTH] * 8 + [WEST, EAST, WEST] + [WEST] + [EAST] * 2 + [NORTH, SOUTH] * 8 + [WEST]
    layers, rewards, places, _ = play(hidden(), actions, explore=8, length=30, apple=0.5)
    np.testing.assert_array_equal(places[7], [2, 4])
    # Apples grow on every second cell; the agent stands on one without.
    np.testing.assert_array_equal(layers[8, APPLE], np.indices((5, 5)).sum(axis=0) % 2)
    np.testing.assert_array_equal(places[8:12], [[2, 3], [2, 4], [2, 3], [2, 2]])
    np.testing.assert_array_equal(rewards[8:12], [0.5, 0, 0, 0])
    paid = [time for time, (place, reward) in enumerate(zip(places, rewards, strict=True)) if reward and place[1] == 3]
    np.testing.assert_array_equal(paid, [8, 30])
    # Eaten at time 9: in sight again at time 29, from one cell further north than at time 28.
    assert (layers[28, APPLE, 2, 1], layers[29, APPLE, 3, 1]) == (0, 1)
    assert not play(hidden(filled=False), actions, explore=8, length=30)[1].any()


def through_walls(observation):
    """From what is near to an action: to the key or the door in sight, or else to the middle of the room."""
    wall, _, key, door, _ = observation.reshape(5, 5, 5)
    target = jnp.where(key.any(), key, door)
    row, column = jnp.divmod(jnp.argmax(target), 5)
    to_target = jnp.where(column < 2, WEST, jnp.where(column > 2, EAST, jnp.where(row < 2, NORTH, SOUTH)))
    sideways = jnp.where(wall[2, 0] == 1, EAST, jnp.where(wall[2, 4] == 1, WEST, NORTH))
    to_middle = jnp.where(wall[4, 2] == 1, NORTH, jnp.where(wall[0, 2] == 1, SOUTH, sideways))
    return jnp.where(target.any(), to_target, to_middle)


@pytest.fixture(scope="module")
def visits():
    """Return, whether the key was taken, and how many apples there were, of a scripted and a random policy."""
    env, params = make("memory::KeyToDoor", explore=8, length=20, reward=4, apple=0.0)

    def run(scripted, key):
        def act(loop, key):
            observation, state = loop
            action = jnp.where(scripted, through_walls(observation), env.action_space().sample(key))
            observation, state, reward, terminated, _, info = env.step(key, state, action, params)
            return (observation, state), (reward, terminated, info["final_observation"].reshape(5, 25)[LIT, 0])

        reset_key, step_key = jax.random.split(key)
        start = env.reset(reset_key, params)
        _, (rewards, ends, lit) = jax.lax.scan(act, start, jax.random.split(step_key, 32))
        return rewards.sum(), ends.argmax(), lit.sum(), (start[1].apples == 0).sum()

    keys = jax.random.split(jax.random.key(0), 800)
    return env, [np.asarray(x).reshape(2, 400) for x in jit(jax.vmap(run))(jnp.arange(800) < 400, keys)]


def test_a_policy_without_memory_gets_through(visits):
    env, (returns, ends, lit, apples) = visits
    assert env.optimal_return == env.memoryless_return == 5.0
    np.testing.assert_array_equal(returns[0], env.optimal_return)
    assert returns[1].mean() < 0.5
    assert (ends == 31).all()
    assert (lit[0] == 1).all()
    assert set(np.unique(lit[1])) == {0.0, 1.0}
    assert (apples == 10).all()


def test_what_is_not_known_is_not_stated():
    env, params = make("memory::KeyToDoor")
    assert (env.optimal_return, env.memoryless_return, env.memory_length()) == (None, None, None)
    assert (env.horizon(), env.credit_length(params)) == (85, 65)


def test_rooms_are_painted():
    env, params = make("memory::KeyToDoor", explore=8, length=1, reward=4)
    _, state = env.start(hidden(), params)
    pictures = [np.asarray(env.render(state.replace(time=jnp.int32(time)), params)) for time in (0, 8, 9)]
    size = pictures[0].shape[0] // 5
    assert {p.shape for p in pictures} == {(5 * size, 9 * size, 3)}
    assert all((a != b).any() for a, b in ((pictures[0], pictures[1]), (pictures[1], pictures[2])))
    moved = np.asarray(env.render(state.replace(place=jnp.array([3, 1])), params))
    changed = (moved != pictures[0]).any(axis=2).reshape(5, size, 9, size).any(axis=(1, 3))
    np.testing.assert_array_equal(np.argwhere(changed), [[3, 0], [3, 1]])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"length": 0}, "`length` must be at least 1, got 0"),
        ({"explore": 7}, "`explore` must be at least 8, got 7"),
        ({"reward": 3}, "`reward` must be at least 4, got 3"),
        ({"apple": -1.0}, "`apple` must be at least 0, got -1.0"),
    ],
)
def test_a_wrong_argument_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        make("memory::KeyToDoor", **arguments)
