"""What we draw against what the `popgym` package draws: cards, boards, arms, mazes and noise, by chi-square tests."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from tests.fast_compile import jit

from memorax.environments import make

REASON = "the oracle is not installed: pip install popgym==1.0.7 gymnasium mazelib"
pytest.importorskip("mazelib", reason=REASON)
popgym = pytest.importorskip("popgym.envs", reason=REASON)

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

SAMPLES = 4000
LIMIT = 1e-3
"""Seeds are fixed: a result below this is a difference, or was one bad throw in a thousand when the seed was chosen."""


def agree(ours, theirs):
    """Whether two samples of categories may come from one distribution; rare categories are taken together."""
    values, inverse = np.unique(np.concatenate([ours, theirs]), return_inverse=True)
    table = np.stack([np.bincount(part, minlength=len(values)) for part in np.split(inverse, [len(ours)])])
    rare = table.sum(axis=0) < 20
    table = np.concatenate([table[:, ~rare], table[:, rare].sum(axis=1, keepdims=True)], axis=1)
    table = table[:, table.sum(axis=0) > 0]
    assert table.shape[1] > 1, "one category tells nothing"
    return stats.chi2_contingency(table).pvalue > LIMIT


def deciles(ours, theirs):
    """Two samples of numbers as categories of about the same size."""
    edges = np.quantile(np.concatenate([ours, theirs]), np.linspace(0.1, 0.9, 9))
    return np.digitize(ours, edges), np.digitize(theirs, edges)


def observed(name, steps, actions=None):
    """Observations of our episodes up to a step, `[episodes, steps + 1, ...]`."""
    env, params = make(f"memory::{name}")
    actions = jnp.zeros((steps,), jnp.int32) if actions is None else jnp.asarray(actions)

    def episode(key):
        def act(state, given):
            observation, state, *_ = env.step_env(given[0], state, given[1], params)
            return state, observation

        start_key, step_key = jax.random.split(key)
        first, state = env.reset(start_key, params)
        later = jax.lax.scan(act, state, (jax.random.split(step_key, steps), actions))[1]
        return jnp.concatenate([first[None], later])

    return np.asarray(jit(jax.vmap(episode))(jax.random.split(jax.random.key(11), SAMPLES)))


def begun(name):
    """What we draw at the beginning of episodes."""
    env, params = make(f"memory::{name}")
    draw = jit(jax.vmap(lambda key: env.draw_start(key, params)))
    return jax.tree.map(np.asarray, draw(jax.random.split(jax.random.key(12), SAMPLES)))


def resets(name, read, samples=SAMPLES):
    env = getattr(popgym, name)()
    found = []
    for seed in range(samples):
        env.reset(seed=seed)
        found.append(read(env))
    return np.array(found)


@pytest.mark.parametrize(
    ("name", "symbols"), [("RepeatFirstEasy", 4), ("RepeatPreviousMedium", 4), ("HigherLowerEasy", 13)]
)
def test_cards(name, symbols):
    steps = 40
    ours = observed(name, steps).argmax(-1)
    source = (lambda env: env.deck.ranks_idx) if symbols == 13 else (lambda env: env.deck.suits_idx)
    theirs = resets(name, lambda env: source(env)[env.deck.idx[::-1]][: steps + 1])
    assert agree(ours[:, 0], theirs[:, 0])
    assert agree(ours[:, 0] == ours[:, 1], theirs[:, 0] == theirs[:, 1])
    # Without replacement: late cards make up for early ones.
    assert agree((ours == 0).sum(axis=1), (theirs == 0).sum(axis=1))
    assert agree(ours[:, steps], theirs[:, steps])
    assert agree((ours[:, :3] == ours[:, 3:6]).sum(axis=1), (theirs[:, :3] == theirs[:, 3:6]).sum(axis=1))


def test_watched_cards():
    ours = observed("AutoencodeEasy", 51)[..., 2:].argmax(-1)
    theirs = resets("AutoencodeEasy", lambda env: env.deck.suits_idx[env.deck.idx[::-1]])
    np.testing.assert_array_equal(np.sort(ours, axis=1), np.sort(theirs, axis=1))
    assert agree(4 * ours[:, 50] + ours[:, 51], 4 * theirs[:, 50] + theirs[:, 51])
    assert agree((ours[:, :26] == 2).sum(axis=1), (theirs[:, :26] == 2).sum(axis=1))


def test_counted_cards():
    steps = 51
    ours = observed("CountRecallEasy", steps).reshape(SAMPLES, steps + 1, 2, 2).argmax(-1)

    def read(env):
        return [env.deck_idx_type[deck.idx[::-1]][: steps + 1] for deck in (env.value_deck, env.query_deck)]

    theirs = resets("CountRecallEasy", read).transpose(0, 2, 1)
    for time in (0, 1, 30):
        pair = [2 * x[:, time, 0] + x[:, time, 1] for x in (ours, theirs)]
        assert agree(*pair)
    for deck in (0, 1):
        assert agree(ours[:, :20, deck].sum(axis=1), theirs[:, :20, deck].sum(axis=1))
        assert (ours[:, :, deck].sum(axis=1) == 26).all()


@pytest.mark.parametrize(("name", "symbols"), [("ConcentrationEasy", 2), ("ConcentrationHard", 13)])
def test_turned_cards(name, symbols):
    """Symbols drawn as cards are turned are those of a deck laid out beforehand."""
    cards = np.arange(52)
    faces = observed(name, 52, cards).reshape(SAMPLES, 53, 52, symbols + 1)[:, 1:].argmax(-1)
    ours = faces[:, cards, cards]
    theirs = resets(name, lambda env: env.state)
    np.testing.assert_array_equal(np.sort(ours, axis=1), np.sort(theirs, axis=1))
    assert agree(ours[:, 0] == ours[:, 1], theirs[:, 0] == theirs[:, 1])
    assert agree((ours[:, :26] == 0).sum(axis=1), (theirs[:, :26] == 0).sum(axis=1))
    assert agree(ours[:, 51], theirs[:, 51])


@pytest.mark.parametrize("name", ["BattleshipEasy", "BattleshipHard"])
def test_ships(name):
    ours, theirs = begun(name), resets(name, lambda env: env.board.astype(bool))
    assert (ours.sum(axis=(1, 2)) == 12).all()
    for part in (np.s_[:, 0, 0], np.s_[:, 1, 2], np.s_[:, -1, -1], np.s_[:, 3, -2], np.s_[:, 4, 3]):
        assert agree(ours[part], theirs[part])
    for axis in (1, 2):
        assert agree(ours.any(axis=axis).sum(axis=1), theirs.any(axis=axis).sum(axis=1))
    assert agree(ours[:, 0].sum(axis=1), theirs[:, 0].sum(axis=1))
    assert agree(ours[:, :, -1].sum(axis=1), theirs[:, :, -1].sum(axis=1))
    touching = [(x[:, 1:] & x[:, :-1]).sum(axis=(1, 2)) for x in (ours, theirs)]
    assert agree(*touching)


@pytest.mark.parametrize(("name", "mines"), [("MineSweeperEasy", 2), ("MineSweeperHard", 10)])
def test_mines(name, mines):
    ours, theirs = begun(name), resets(name, lambda env: env.hidden_grid == 1)
    assert (ours.sum(axis=(1, 2)) == mines).all()
    assert stats.chisquare(ours.sum(axis=0).ravel()).pvalue > LIMIT
    assert agree(ours[:, :2, :2].sum(axis=(1, 2)), theirs[:, :2, :2].sum(axis=(1, 2)))
    assert agree(ours[:, 0].sum(axis=1), theirs[:, 0].sum(axis=1))


def odds_of_arms():
    """Probabilities that were drawn as each arm was pulled, `[episodes, arms]`."""
    env, params = make("memory::MultiarmedBanditEasy")

    def episode(key):
        def pull(state, arm):
            _, state, *_ = env.step_env(jax.random.fold_in(key, arm), state, arm, params)
            return state, state.odds

        state, odds = jax.lax.scan(pull, env.reset(key, params)[1], jnp.arange(10))
        return state.odds, odds

    odds, on_the_way = jit(jax.vmap(episode))(jax.random.split(jax.random.key(13), SAMPLES))
    # Drawn once, and then kept.
    pulled = np.tri(10, dtype=bool)
    np.testing.assert_array_equal(np.where(pulled, on_the_way, -1), np.where(pulled, odds[:, None], -1))
    return np.asarray(odds)


def test_arms():
    ours, theirs = odds_of_arms(), resets("MultiarmedBanditEasy", lambda env: env.bandits)
    assert np.abs(np.corrcoef(ours.T) - np.eye(10)).max() < 5 / np.sqrt(SAMPLES)
    for read in (lambda x: x[:, 0], lambda x: x[:, 9], lambda x: x.max(axis=1), lambda x: x.min(axis=1)):
        assert agree(*deciles(read(ours), read(theirs)))
    wins = observed("MultiarmedBanditEasy", 8)[:, 1:, 0].sum(axis=1)
    env = popgym.MultiarmedBanditEasy()
    expected = []
    for seed in range(SAMPLES):
        env.reset(seed=seed)
        expected.append(sum(env.step(0)[0] for _ in range(8)))
    assert agree(wins, np.array(expected))


@pytest.mark.parametrize("name", ["PositionOnlyCartPoleEasy", "VelocityOnlyCartPoleEasy", "PositionOnlyPendulumEasy"])
def test_where_bodies_begin(name):
    ours, theirs = begun(name)[0], resets(name, lambda env: env.state)
    for axis in range(ours.shape[1]):
        assert agree(*deciles(ours[:, axis], theirs[:, axis]))
    assert agree(*deciles(ours[:, 0] * ours[:, 1], theirs[:, 0] * theirs[:, 1]))


@pytest.mark.parametrize("name", ["NoisyPositionOnlyCartPoleHard", "NoisyPositionOnlyPendulumMedium"])
def test_noise(name):
    torques = np.zeros((1, 1), np.float32) if "Pendulum" in name else None
    ours, env = observed(name, 1, torques), getattr(popgym, name)()
    pairs = []
    for seed in range(SAMPLES):
        first, _ = env.reset(seed=seed)
        pairs.append([first, env.step(np.zeros(1) if "Pendulum" in name else 0)[0]])
    theirs = np.array(pairs)
    for axis in (0, 1):
        assert agree(*deciles(ours[:, 0, axis], theirs[:, 0, axis]))
        assert agree(*deciles(ours[:, 1, axis], theirs[:, 1, axis]))
        change = [x[:, 1, axis] - x[:, 0, axis] for x in (ours, theirs)]
        assert agree(*deciles(*change))


def ways(maze):
    """How many ways lead from each cell, `[side, side]`."""
    padded = np.pad(maze, 1).astype(int)
    cells = sum(np.roll(padded, shift, axis) for axis in (0, 1) for shift in (-1, 1))[1:-1, 1:-1]
    return cells[1::2, 1::2]


def test_mazes():
    """Complete mazes only: the package gives up after a number of trials, and leaves cells closed now and then."""
    mazes, begins, goals = begun("LabyrinthEscapeEasy")
    maze, begin, goal = [], [], []
    env = popgym.LabyrinthEscapeEasy()
    for seed in range(1500):
        env.reset(seed=seed)
        grid = env.maze.grid == 0
        if grid[1::2, 1::2].all():
            maze.append(grid)
            begin.append(env.maze.start)
            goal.append(env.maze.end)
    maze, begin, goal = (np.array(x) for x in (maze, begin, goal))
    assert len(maze) > 1300
    assert (mazes.sum(axis=(1, 2)) == 49).all()
    ours, theirs = (np.stack([ways(one) for one in some]) for some in (mazes, maze))
    for number in (1, 3, 4):
        assert agree((ours == number).sum(axis=(1, 2)), (theirs == number).sum(axis=(1, 2)))
    for cell in (np.s_[:, 0, 0], np.s_[:, 2, 2], np.s_[:, 4, 1]):
        assert agree(ours[cell], theirs[cell])
    for part in (np.s_[:, 1, 2], np.s_[:, 4, 5], np.s_[:, 9, 8]):
        assert agree(mazes[part], maze[part])
    for mine, other in ((begins, begin), (goals, goal)):
        assert agree(11 * mine[:, 0] + mine[:, 1], 11 * other[:, 0] + other[:, 1])
    assert agree(np.abs(begins - goals).sum(axis=1), np.abs(begin - goal).sum(axis=1))


def test_a_difference_is_found():
    draw = np.random.default_rng(0)
    fair, loaded = draw.integers(6, size=SAMPLES), np.minimum(draw.integers(7, size=SAMPLES), 5)
    assert agree(fair, draw.integers(6, size=SAMPLES))
    assert not agree(fair, loaded)
    assert not agree(*deciles(draw.normal(size=SAMPLES), draw.normal(0, 1.15, size=SAMPLES)))
