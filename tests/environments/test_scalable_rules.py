"""Episodes of the tasks of any length, laid and computed by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.fast_compile import jit

from memorax.environments import make


def play(name, hidden, actions, drawn=None, **arguments):
    """All observations, the rewards, and after which steps an end is told."""
    env, params = make(f"memory::{name}", **arguments)

    def act(state, given):
        observation, state, reward, terminated = env.transition(state, *given, params)
        return state, (observation, reward, terminated | env.is_truncated(state, params))

    def run(hidden, actions, drawn):
        first, state = env.start(hidden, params)
        return first, jax.lax.scan(act, state, (actions, drawn))[1]

    drawn = (
        jnp.zeros(len(actions))
        if drawn is None
        else (tuple(jnp.array(column) for column in drawn) if isinstance(drawn, tuple) else jnp.array(drawn))
    )
    first, (later, rewards, ends) = jit(run)(hidden, jnp.array(actions), drawn)
    return np.concatenate([first[None], later]), rewards, np.flatnonzero(ends).tolist()


def test_umbrella_chain():
    """Rain, no umbrella; it is taken in the first step and cannot be left later."""
    coins = [[1, 0, 1], [0, 1, 1], [0, 0, 0]]
    seen, rewards, ends = play("UmbrellaChain", jnp.array([1, 0, 1, 1]), [1, 0, 0], coins, length=3, distractors=2)
    expected = [[1, 0, 1, 1, 1], [1, 1, 2 / 3, 0, 1], [1, 1, 1 / 3, 1, 1], [1, 1, 0, 0, 0]]
    np.testing.assert_allclose(seen, expected, rtol=1e-6)
    np.testing.assert_array_equal(rewards, [1, -1, 1])
    assert ends == [2]
    assert play("UmbrellaChain", jnp.array([1, 1]), [0], [[1]], length=1, distractors=0)[1] == -1


def test_copy():
    """Two symbols of three, a blank, and two answers; the answer 9 counts as the largest symbol."""
    hidden = (jnp.array([1, 2]), True)
    seen, rewards, ends = play(
        "Copy", hidden, [1, 2, 2, 1, 9], [True, True] + [False] * 3, length=1, items=2, symbols=3
    )
    blank, write = [0, 0, 0, 1, 0], [0, 0, 0, 0, 1]
    np.testing.assert_array_equal(seen, [[0, 1, 0, 0, 0], [0, 0, 1, 0, 0], blank, write, write, write])
    np.testing.assert_array_equal(rewards, [0, 0, 0, 0.5, 0.5])
    assert ends == [4]


def test_selective_copy():
    """Blank, symbol, blank, symbol, two answers of which the second is wrong; what is drawn later is ignored."""
    hidden, drawn = (jnp.array([2, 0]), False), [True, False, True, True, True, True]
    seen, rewards, ends = play("SelectiveCopy", hidden, [2, 0, 2, 0, 2, 1], drawn, length=2, items=2, symbols=3)
    blank, write = [0, 0, 0, 1, 0], [0, 0, 0, 0, 1]
    np.testing.assert_array_equal(seen, [blank, [0, 0, 1, 0, 0], blank, [1, 0, 0, 0, 0], write, write, write])
    np.testing.assert_array_equal(rewards, [0, 0, 0, 0, 0.5, 0])
    assert ends == [5]


def test_associative_recall():
    """Key 2 has value 0, key 0 value 1, then key 2 value 1; two blanks; the questions are 0, 2, 2."""
    keys, values = [0, 2, 1, 0, 0, 2, 2, 1], [1, 1, 0, 0, 0, 0, 0, 0]
    arguments = {"length": 2, "pairs": 3, "keys": 3, "values": 2, "queries": 3, "overwrite": True}
    seen, rewards, ends = play(
        "AssociativeRecall",
        (jnp.int32(2), jnp.int32(0)),
        [0, 1, 0, 1, 0, 1, 0, 7],
        (keys, values),
        **arguments,
    )
    pairs = [[0, 0, 1, 1, 0, 0], [1, 0, 0, 0, 1, 0], [0, 0, 1, 0, 1, 0]]
    asked = [[1, 0, 0, 0, 0, 1], [0, 0, 1, 0, 0, 1], [0, 0, 1, 0, 0, 1]]
    np.testing.assert_array_equal(seen[:-1], [*pairs, [0] * 6, [0] * 6, *asked])
    np.testing.assert_allclose(rewards, [0, 0, 0, 0, 0, 1 / 3, 0, 1 / 3], rtol=1e-6)
    assert ends == [7]


def test_distracted_recall():
    """Cue 0 alone, two distractors twice, the question alone; of the answers only the last counts."""
    coins = [[True, False], [False, False], [True, True], [True, True]]
    seen, rewards, ends = play("DistractedRecall", jnp.int32(0), [1, 1, 1, 0], coins, length=2, distractors=2)
    np.testing.assert_array_equal(seen[:4], [[0, -1, 0, 0], [0, 0, 1, -1], [0, 0, -1, -1], [1, 0, 0, 0]])
    np.testing.assert_array_equal(rewards, [0, 0, 0, 1])
    assert ends == [3]
    assert play("DistractedRecall", jnp.int32(1), [1, 1, 1, 0], coins, length=2, distractors=2)[1][-1] == -1


def test_key_to_door():
    """The key is in sight at time 0, or at time 1 for who waits in the first step; the corridor pays noise."""
    noise = [9.0, 1.0, -2.0, 9.0, 9.0]
    key, corridor, door, nothing = [0, 1, 0, 0, 0], [0, 0, 0, 1, 0], [0, 0, 0, 0, 1], [0] * 5
    seen, rewards, ends = play("PassiveKeyToDoor", jnp.int32(1), [3, 0, 2, 1], noise[:4], length=2, noise=0.5)
    np.testing.assert_array_equal(seen, [key, corridor, corridor, door, nothing])
    np.testing.assert_array_equal(rewards, [0, 0.5, -1, 1])
    assert ends == [3]
    seen, rewards, ends = play("ActiveKeyToDoor", jnp.int32(1), [3, 0, 0, 0, 0], noise, length=2)
    np.testing.assert_array_equal(seen, [nothing, key, corridor, corridor, door, nothing])
    np.testing.assert_array_equal(rewards, [0] * 5)
    assert ends == [4]
    assert not play("ActiveKeyToDoor", jnp.int32(1), [1, 1, 1, 1, 1], noise, length=2)[0][:2].any()
    assert play("ActiveKeyToDoor", jnp.int32(1), [1, 3, 3, 3, 1], noise, length=2)[1][-1] == 1


@pytest.mark.parametrize(
    ("actions", "expected"), [([1, 1, 0, 1], [0.5, 0, 0, 0.5]), ([7, 7, 7, -2], [0.5, 0, 0.5, 0.5])]
)
def test_one_good_arm(actions, expected):
    """Arms that pay with 0.3 and 0.6, pulled with chances below, above, between and below; 7 counts as arm 1."""
    drawn = ([0.1, 0.7, 0.5, 0.2], [False, True, True, False])
    seen, rewards, ends = play("OneGoodArm", (jnp.array([0.3, 0.6]), True), actions, drawn, pulls=2, arms=2)
    np.testing.assert_array_equal(seen, [[1, 1], [0, 0], [0, 1], [0, 1], [0, 0]])
    np.testing.assert_array_equal(rewards, expected)
    assert ends[0] == 1


def test_every_action_but_right_may_cost():
    """One step to the oracle is free; being late is, too. Up in the corridor, right against the wall, up at the end."""
    actions = [2, 0, 1, 0, 0, 0, 1]
    seen, rewards, ends = play("TMazeActive", jnp.int32(1), actions, length=4, penalty="action")
    np.testing.assert_array_equal(seen[:, 1], [0, 1, 0, 0, 0, 0, 0, 0])
    np.testing.assert_allclose(rewards, [0, 0, -0.25, 0, 0, 0, 0], rtol=1e-6)
    assert ends == [6]
    rewards = play("TMazePassive", jnp.int32(-1), [0, 0, 3], length=2, penalty="action")[1]
    np.testing.assert_array_equal(rewards, [0, 0, 1])
    assert play("TMazePassive", jnp.int32(-1), [3, 0, 0], length=2, penalty="action")[1][0] == -0.5


@pytest.mark.parametrize(("name", "cells", "goal", "start"), [("TMaze", 6, 1, 0), ("TMazePassive", 5, 1, 0)])
def test_mazes_are_painted(name, cells, goal, start):
    """Three rows of cells; the agent's picture moves with it, and the goal is on its side."""
    env, params = make(f"memory::{name}", length=4)
    pictures = []
    for side in (goal, -goal if name != "TMaze" else 0):
        _, state = env.start(jnp.int32(side), params)
        pictures.append(np.asarray(env.render(state)))
        _, state, *_ = env.transition(state, jnp.int32(2 if name == "TMaze" else 0), (), params)
        moved = np.asarray(env.render(state))
        size = moved.shape[0] // 3
        changed = (moved != pictures[-1]).any(axis=2).reshape(3, size, cells, size).any(axis=(1, 3))
        np.testing.assert_array_equal(np.argwhere(changed), [[1, start], [1, start + 1]])
    assert moved.dtype == np.uint8
    assert moved.shape == (3 * size, cells * size, 3)
    differ = (pictures[0] != pictures[1]).any(axis=2).reshape(3, size, cells, size).any(axis=(1, 3))
    np.testing.assert_array_equal(np.argwhere(differ), [[0, cells - 1], [2, cells - 1]])
