"""The rules of the board, maze and bandit tasks with hidden states laid by hand, and how boards are drawn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.environments.fixed_cards import play
from tests.fast_compile import jit

from memorax.environments.memory.parts import bitboard
from memorax.environments.memory.parts.maze import carve, entrances

FLEET = np.zeros((8, 8), bool)
FLEET[0, :2] = FLEET[2, 1:4] = FLEET[4, 5:] = FLEET[4:8, 0] = True


def test_a_cell_is_hit_once():
    seen, rewards, terminated, _ = play("BattleshipEasy", FLEET, [0, 0, 2, 1, 17, 8])
    np.testing.assert_array_equal(seen[:, 0], [0, 1, 0, 0, 1, 1, 0])
    np.testing.assert_allclose(rewards, np.where(seen[1:, 0] == 1, 1 / 12, -1 / 52), rtol=1e-6)
    assert not terminated.any()


def test_a_fleet_is_sunk_by_the_twelfth_hit():
    _, rewards, terminated, truncated = play("BattleshipEasy", FLEET, np.flatnonzero(FLEET))
    assert rewards.sum() == pytest.approx(1)
    assert np.flatnonzero(terminated).tolist() == [11]
    assert not truncated.any()
    # Shooting everywhere, ships last: both flags, and a return of nothing.
    _, rewards, terminated, truncated = play("BattleshipEasy", FLEET, np.argsort(FLEET.ravel(), kind="stable"))
    assert rewards.sum() == pytest.approx(0, abs=1e-5)
    assert np.flatnonzero(terminated).tolist() == np.flatnonzero(truncated).tolist() == [63]


MINES = np.zeros((4, 4), bool)
MINES[0, 1] = MINES[1, 0] = True


def test_mines_are_counted_around_the_cell_and_below_it():
    seen, rewards, terminated, _ = play("MineSweeperEasy", MINES, [0, 15, 5, 0, 1])
    np.testing.assert_array_equal(seen.argmax(-1), [0, 2, 0, 2, 2, 2])
    np.testing.assert_allclose(rewards, [1 / 14, 1 / 14, 1 / 14, -0.5 / 12, -0.5 - 1 / 14], rtol=1e-6)
    np.testing.assert_array_equal(terminated, [False] * 4 + [True])


def test_a_field_is_won_by_opening_the_rest():
    _, rewards, terminated, truncated = play("MineSweeperEasy", MINES, np.flatnonzero(~MINES))
    assert rewards.sum() == pytest.approx(1)
    # In the last step allowed: a win is no truncation.
    assert np.flatnonzero(terminated).tolist() == [13]
    assert not truncated.any()
    _, _, terminated, truncated = play("MineSweeperEasy", MINES, np.full(14, 15))
    assert np.flatnonzero(truncated).tolist() == [13]
    assert not terminated.any()


def test_an_arm_pays_by_its_odds():
    odds, drawn = np.linspace(0, 0.9, 10, dtype=np.float32), np.full((200, 2), [0.55, 1.0], np.float32)
    arms = np.arange(200) % 10
    seen, rewards, terminated, truncated = play("MultiarmedBanditEasy", odds, arms, drawn)
    np.testing.assert_array_equal(seen[:, 0], np.concatenate([[0], arms > 5]))
    np.testing.assert_allclose(rewards, np.where(arms > 5, 1, -1) / 200)
    assert not terminated.any()
    assert np.flatnonzero(truncated).tolist() == [199]


def test_odds_are_drawn_when_an_arm_is_first_pulled():
    """Once an arm: 0.6 for arm 3, which then stays, and 0.1 for arm 5."""
    unknown = np.full(10, -1, np.float32)
    drawn = np.array([[0.5, 0.6], [0.7, 0.9], [0.2, 0.1], [0.59, 0.0]], np.float32)
    seen, *_ = play("MultiarmedBanditEasy", unknown, [3, 3, 5, 3], drawn)
    np.testing.assert_array_equal(seen[:, 0], [0, 1, 0, 0, 1])


LEFT, RIGHT, UP, DOWN = range(4)
MAZE = np.zeros((11, 11), bool)
MAZE[1, 1:4] = MAZE[1:10, 3] = True
"""A corridor from (1, 1) to the right, then down to (9, 3)."""
BEGIN, GOAL = np.array([0, 1]), np.array([10, 3])


def view(seen):
    numbers = seen.reshape(10, 5).argmax(-1)
    return numbers[:9].reshape(3, 3).tolist(), int(numbers[9])


def test_who_escapes_is_paid():
    path = [DOWN, RIGHT, LEFT, RIGHT, RIGHT, *[DOWN] * 9]
    seen, rewards, terminated, truncated = play("LabyrinthEscapeEasy", (MAZE, BEGIN, GOAL), path)
    # In the first row the agent is at the edge of its view, and walls follow below.
    assert view(seen[0]) == ([[1, 2, 1], [1, 0, 0], [1, 1, 1]], 4)
    assert view(seen[1]) == ([[1, 2, 1], [1, 0, 0], [1, 1, 1]], DOWN)
    assert view(seen[2]) == ([[2, 1, 1], [0, 0, 0], [1, 1, 0]], RIGHT)
    assert view(seen[-2]) == ([[1, 0, 1], [1, 0, 1], [1, 3, 1]], DOWN)
    assert view(seen[-1]) == ([[1, 0, 1], [1, 3, 1], [1, 1, 1]], DOWN)
    np.testing.assert_allclose(rewards, [-1 / 1024] * 13 + [1 - 1 / 1024], rtol=1e-6)
    assert np.flatnonzero(terminated).tolist() == [13]
    assert not truncated.any()


@pytest.mark.parametrize(
    ("begin", "cells"),
    [
        ((0, 1), [[1, 2, 1], [1, 0, 0], [1, 1, 1]]),
        ((1, 0), [[1, 1, 1], [2, 0, 1], [1, 0, 1]]),
        ((10, 5), [[0, 0, 0], [1, 2, 1], [1, 1, 1]]),
        ((7, 10), [[0, 1, 1], [0, 2, 1], [0, 1, 1]]),
    ],
)
def test_walls_follow_where_the_view_is_cut(begin, cells):
    hall = np.pad(np.ones((9, 9), bool), 1)
    seen, *_ = play("LabyrinthExploreEasy", (hall, np.array(begin), GOAL), [LEFT])
    assert view(seen[0])[0] == cells


def test_walls_stop_and_time_runs_out():
    seen, _, terminated, truncated = play("LabyrinthEscapeEasy", (MAZE, BEGIN, GOAL), [UP, *[LEFT] * 1022])
    assert view(seen[-1]) == (view(seen[0])[0], LEFT)
    assert not terminated.any()
    assert np.flatnonzero(truncated).tolist() == [1022]


def test_who_explores_is_paid_for_new_places():
    path = [DOWN, UP, DOWN, RIGHT, RIGHT, *[DOWN] * 8]
    seen, rewards, terminated, _ = play("LabyrinthExploreEasy", (MAZE, BEGIN, GOAL), [*path, DOWN])
    new = np.ones(13, bool)
    new[1:3] = False
    np.testing.assert_allclose(rewards[:13], np.where(new, 1 / MAZE.sum(), -1 / 1024), rtol=1e-6)
    assert terminated.argmax() == 12
    # The opposite entrance is a wall.
    assert view(seen[-1]) == ([[1, 0, 1], [1, 0, 1], [1, 1, 1]], DOWN)


def reached(maze):
    """How many open places can be reached from the first cell."""
    todo, known = [(1, 1)], {(1, 1)}
    while todo:
        y, x = todo.pop()
        for place in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            if maze[place] and place not in known:
                known.add(place)
                todo.append(place)
    return len(known)


def test_one_path_joins_any_two_cells():
    draw = jit(jax.vmap(lambda key: (bitboard.unpack(carve(key, 5), 11), *entrances(key, 5))))
    mazes, begins, goals = (np.asarray(x) for x in draw(jax.random.split(jax.random.key(2), 40)))
    assert mazes[:, 1::2, 1::2].all()
    assert not mazes[:, ::2, ::2].any()
    # As many passages as a tree has edges, and all cells joined: no loop, no island.
    np.testing.assert_array_equal(mazes.sum(axis=(1, 2)), 49)
    assert all(reached(maze) == 49 for maze in mazes)
    assert len(np.unique(mazes, axis=0)) == 40
    assert (np.abs(begins - goals).max(axis=1) == 10).all()
    for places in (begins, goals):
        assert ((places % 2).sum(axis=1) == 1).all()
        assert len(np.unique(places, axis=0)) > 10


def test_bits_are_found_and_counted():
    board = np.random.default_rng(3).random((5, 9)) < 0.4
    rows = bitboard.pack(board)
    np.testing.assert_array_equal(bitboard.unpack(rows, 9), board)
    assert bitboard.count(rows) == board.sum()
    found = jit(jax.vmap(lambda k: jnp.stack(bitboard.nth(rows, k, 9))))(jnp.arange(board.sum() + 2))
    np.testing.assert_array_equal(found[:-2], np.argwhere(board))
    np.testing.assert_array_equal(found[-2:], [found[-3]] * 2)
    at = jit(jax.vmap(jax.vmap(lambda y, x: bitboard.at(rows, y, x), (None, 0)), (0, None)))
    np.testing.assert_array_equal(at(jnp.arange(-1, 6), jnp.arange(-1, 10)), np.pad(board, 1))
    np.testing.assert_array_equal(bitboard.unpack(bitboard.shift_rows(rows, 2), 9), np.pad(board, ((0, 2), (0, 0)))[2:])
    np.testing.assert_array_equal(
        bitboard.unpack(bitboard.shift_rows(rows, -1), 9), np.pad(board, ((1, 0), (0, 0)))[:5]
    )
