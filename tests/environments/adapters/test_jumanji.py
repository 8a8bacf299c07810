"""Jumanji beside the library driven by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib import pyplot
from tests.environments.adapters.by_hand import Library, compare, draw_action, make_or_skip, trains

from memorax.core.spaces import Box, Discrete, MultiDiscrete
from memorax.testing import check_environment

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

MAZE = ("jumanji::Maze-v0", {"time_limit": 20})
MINES = ("jumanji::Minesweeper-v0", {})


def maze_by_hand(raw):
    def look(observation):
        parts = {
            "agent_position": observation.agent_position._asdict(),
            "target_position": observation.target_position._asdict(),
            "walls": observation.walls,
            "step_count": observation.step_count,
        }
        return {"action_mask": observation.action_mask, "observation": parts}

    def reset(key):
        state, timestep = raw.reset(key)
        return look(timestep.observation), state

    def step(key, state, action):
        state, timestep = raw.step(state, action)
        late = state.step_count >= raw.time_limit
        return look(timestep.observation), state, timestep.reward, timestep.last() & ~late, timestep.last() & late

    return Library(reset, step)


def mines_by_hand(raw):
    def look(observation):
        mask = observation.action_mask.ravel()
        parts = {"board": observation.board, "num_mines": observation.num_mines, "step_count": observation.step_count}
        return {"action_mask": mask | ~mask.any(), "observation": parts}

    def reset(key):
        state, timestep = raw.reset(key)
        return look(timestep.observation), state

    def step(key, state, action):
        state, timestep = raw.step(state, jnp.stack([action // 10, action % 10]))
        return look(timestep.observation), state, timestep.reward, timestep.last(), jnp.zeros((), bool)

    return Library(reset, step)


@pytest.mark.parametrize(("name", "options", "by_hand"), [(*MAZE, maze_by_hand), (*MINES, mines_by_hand)])
def test_it_steps_like_the_library(name, options, by_hand):
    env, params = make_or_skip(name, **options)
    import jumanji

    assert compare(env, params, by_hand(jumanji.make(name.removeprefix("jumanji::"), **options))) > 3


@pytest.mark.parametrize(("name", "options"), [MAZE, MINES])
def test_contract(name, options):
    check_environment(*make_or_skip(name, **options), steps=60)


def test_agents_train(tmp_path):
    make_or_skip(MAZE[0], **MAZE[1])
    trains(MAZE[0], tmp_path, **MAZE[1])


@pytest.mark.parametrize("name", ["Maze-v0", "Snake-v1", "RubiksCube-v0", "BinPack-v2", "CVRP-v1"])
def test_it_is_painted_without_a_window(name):
    env, params = make_or_skip(f"jumanji::{name}")
    observation, state = env.reset(jax.random.key(0), params)
    before = pyplot.get_backend()
    pictures = [env.render(state, params)]
    for t in range(4):
        action = draw_action(env, params, jax.random.key(t), observation)
        observation, state, *_ = env.step(jax.random.key(t), state, action, params)
        pictures.append(env.render(state, params))
    assert {(picture.dtype.name, picture.ndim, picture.shape[-1]) for picture in pictures} == {("uint8", 3, 3)}
    assert any((picture != pictures[0]).any() for picture in pictures)
    assert (pyplot.get_backend(), pyplot.get_fignums()) == (before, [])


def test_actions_of_several_parts():
    """One choice among all combinations where the mask is one; a part for each agent where there are several."""
    sudoku, params = make_or_skip("jumanji::Sudoku-very-easy-v0")
    assert sudoku.action_space(params) == Discrete(729)
    assert sudoku.observation_space(params)["action_mask"].shape == (729,)
    assert sudoku.observation_space(params)["observation"] == Box(-1, 9, (9, 9), np.int32)
    cube, params = make_or_skip("jumanji::RubiksCube-v0")
    assert cube.action_space(params) == Discrete(18)
    robots, params = make_or_skip("jumanji::RobotWarehouse-v0")
    assert robots.action_space(params) == MultiDiscrete([5, 5, 5, 5])
