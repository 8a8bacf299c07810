"""The POPGym tasks against the `popgym` package: its hidden state and the same actions, step by step.

The package plays episodes that are partly random and partly good, so that wins and late states are reached; what it
drew is read from its objects and handed to our rules.
"""

import copy
import functools
from collections import deque

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.fast_compile import jit

from memorax.environments import make
from memorax.environments.memory.parts.task import DIFFICULTIES

REASON = "the oracle is not installed: pip install popgym==1.0.7 gymnasium mazelib"
pytest.importorskip("mazelib", reason=REASON)
popgym = pytest.importorskip("popgym.envs", reason=REASON)
spaces = pytest.importorskip("gymnasium.spaces", reason=REASON)

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

EPISODES = 200
MOVES = ((0, -1), (0, 1), (-1, 0), (1, 0))
DISCRETE = (
    *("Autoencode", "RepeatFirst", "RepeatPrevious", "CountRecall", "HigherLower", "Concentration", "Battleship"),
    *("MineSweeper", "MultiarmedBandit", "LabyrinthEscape", "LabyrinthExplore"),
)
PHYSICAL = (
    *("PositionOnlyCartPole", "VelocityOnlyCartPole", "NoisyPositionOnlyCartPole"),
    *("PositionOnlyPendulum", "NoisyPositionOnlyPendulum"),
)


def one_hot(space, value):
    """An observation of the package as we encode it."""
    if isinstance(space, spaces.Box):
        return np.asarray(value, np.float32)
    if isinstance(space, spaces.Tuple):
        return np.concatenate([one_hot(part, x) for part, x in zip(space.spaces, value, strict=True)])
    if isinstance(space, spaces.MultiDiscrete):
        return np.concatenate(
            [np.eye(int(n), dtype=np.float32)[int(x)] for n, x in zip(space.nvec, value, strict=True)]
        )
    return np.eye(int(space.n), dtype=np.float32)[int(value)]


def seen(name, env, observation):
    if name in ("Battleship", "MultiarmedBandit"):
        return np.array([observation], np.float32)
    return one_hot(env.observation_space, observation)


def in_order(deck, symbols):
    """The symbols of a deck in the order of dealing: the package deals from the end."""
    return symbols[deck.idx[::-1]].astype(np.int32)


def dealt(env, name):
    cards = in_order(env.deck, env.deck.ranks_idx if name == "HigherLower" else env.deck.suits_idx)
    return cards[0], cards[1:]


def counted(env):
    pairs = np.stack([in_order(deck, env.deck_idx_type) for deck in (env.value_deck, env.query_deck)], 1)
    return pairs[0], pairs[1:]


def paid(env, horizon):
    future = copy.deepcopy(env.np_random)
    pays = np.array([future.random() for _ in range(horizon)])
    # The second number is for arms of which nothing is known.
    return env.bandits.copy(), np.stack([pays, np.full(horizon, np.nan)], 1)


def laid_out(env):
    places = (np.array(place, np.int32) for place in (env.maze.start, env.maze.end))
    return np.isin(env.maze.grid, (0, 2, 3)) & ~is_entrance(env), *places


def hidden(name, env, horizon):
    """What the package drew for an episode: what it begins with, and what each step needs."""
    nothing = np.zeros(1, np.int32)
    return {
        "CountRecall": lambda: counted(env),
        "Concentration": lambda: ((), nothing),
        "Battleship": lambda: (env.board.astype(bool), nothing),
        "MineSweeper": lambda: (env.hidden_grid == 1, nothing),
        "MultiarmedBandit": lambda: paid(env, horizon),
        "LabyrinthEscape": lambda: (laid_out(env), nothing),
        "LabyrinthExplore": lambda: (laid_out(env), nothing),
    }.get(name, lambda: dealt(env, name))()


def is_entrance(env):
    entrance = np.zeros(env.maze.grid.shape, bool)
    entrance[env.maze.start] = entrance[env.maze.end] = True
    return entrance


def walk(env, wanted):
    """The first move of a shortest path to a wanted cell; None where there is none."""
    begin = tuple(int(x) for x in env.position)
    todo, first = deque([begin]), {begin: None}
    while todo:
        here = todo.popleft()
        if here != begin and wanted(here):
            return first[here]
        for move, (down, right) in enumerate(MOVES):
            there = (here[0] + down, here[1] + right)
            inside = min(there) >= 0 and max(there) < env.maze.grid.shape[0]
            if inside and env.maze.grid[there] != 1 and there not in first:
                first[there] = move if here == begin else first[here]
                todo.append(there)
    return None


def partner(env):
    """A card of Concentration that is down and fits the one that waits, if one waits."""
    up, waits = env.deck["face_up_idx"], env.deck["in_play_idx"]
    down = [card for card in range(len(env.state)) if card not in up and card not in waits]
    return next((card for card in down if not waits or env.state[card] == env.state[waits[0]]), None)


def good(name, env, time, drawn):
    """An action that earns something, knowing everything; None where any will do."""
    begin, later = drawn
    cards = [begin, *later]
    return {
        "Autoencode": lambda: cards[2 * len(later) - time] if time >= len(later) else None,
        "RepeatFirst": lambda: begin,
        "RepeatPrevious": lambda: cards[max(time - env.k + 1, 0)],
        "HigherLower": lambda: cards[time + 1] < cards[time],
        "CountRecall": lambda: env.counts[env.query],
        "Concentration": lambda: partner(env),
        "MultiarmedBandit": lambda: np.argmax(begin),
        "Battleship": lambda: np.flatnonzero((env.board == 1) & (env.guesses == 0))[0],
        "MineSweeper": lambda: np.flatnonzero(env.hidden_grid == 0)[0],
        "LabyrinthEscape": lambda: walk(env, lambda cell: env.maze.grid[cell] == 3),
        "LabyrinthExplore": lambda: walk(env, lambda cell: env.explored[cell] == 0),
    }[name]()


def play(name, env, seed, mix, horizon):
    """An episode of the package: `(hidden, actions, drawn in each step, first observation, outcomes)`."""
    draw = np.random.default_rng(seed)
    first, _ = env.reset(seed=seed)
    drawn = hidden(name, env, horizon)
    actions, outcomes = [], []
    number = int(np.prod(getattr(env.action_space, "nvec", getattr(env.action_space, "n", 0))))
    while not outcomes or not (outcomes[-1][2] or outcomes[-1][3]):
        best = good(name, env, len(actions), drawn) if draw.random() < mix else None
        actions.append(int(draw.integers(number) if best is None else best))
        grid = name in ("Battleship", "MineSweeper")
        given = np.array(divmod(actions[-1], env.action_space.nvec[1])) if grid else actions[-1]
        observation, reward, terminated, truncated, _ = env.step(given)
        outcomes.append((seen(name, env, observation), reward, terminated, truncated))
    later = env.state[actions].astype(np.int32) if name == "Concentration" else drawn[1]
    return drawn[0], actions, later, seen(name, env, first), outcomes


@functools.cache
def ours(name):
    """Our rules, jitted over episodes: `(hidden, actions, drawn) -> first observations, what each step gave`."""
    env, params = make(f"memory::{name}")

    def episode(begin, actions, drawn):
        def step(state, given):
            observation, state, reward, terminated = env.transition(state, given[0], given[1], params)
            return state, (observation, reward, terminated, env.is_truncated(state, params))

        first, state = env.start(begin, params)
        return first, jax.lax.scan(step, state, (actions, drawn))[1]

    return env, jit(jax.vmap(episode))


def padded(rows, length):
    """Rows of various lengths as one array; played on past the end, they share one compilation."""
    rows = [np.asarray(row)[:length] for row in rows]
    return np.stack([np.pad(row, [(0, length - len(row)), *[(0, 0)] * (row.ndim - 1)]) for row in rows])


@pytest.mark.parametrize("level", DIFFICULTIES)
@pytest.mark.parametrize("name", DISCRETE)
def test_the_same_episodes(name, level):
    env, replay = ours(name + level)
    horizon = env.horizon()
    oracle = getattr(popgym, name + level)()
    ends, returns = set(), []
    for begin in range(0, EPISODES, 50):
        played = [play(name, oracle, seed, (seed % 5) / 4, horizon) for seed in range(begin, begin + 50)]
        hiddens, actions, drawn, firsts, outcomes = zip(*played, strict=True)
        hiddens = jax.tree.map(lambda *x: np.stack(x), *hiddens)
        first, found = replay(hiddens, padded(actions, horizon).astype(np.int32), padded(drawn, horizon))
        np.testing.assert_array_equal(first, np.stack(firsts))
        for row, outcome in enumerate(outcomes):
            observation, reward, terminated, truncated = (np.asarray(x)[row, : len(outcome)] for x in found)
            expected = [np.array(column) for column in zip(*outcome, strict=True)]
            np.testing.assert_array_equal(observation, expected[0])
            np.testing.assert_allclose(reward, expected[1], rtol=0, atol=1e-6)
            np.testing.assert_array_equal(terminated, expected[2])
            np.testing.assert_array_equal(truncated, expected[3])
            ends.add((bool(terminated[-1]), bool(truncated[-1])))
            returns.append(reward.sum())
    # Good play is good: otherwise the episodes would not show what happens near the end.
    assert max(returns) > (0.3 if name == "HigherLower" else 0.6)
    assert name not in ("Concentration", "Battleship", "MineSweeper") or len(ends) > 1


class Recorded:
    """A generator that remembers the normal numbers it gave."""

    def __init__(self, generator):
        self.generator, self.log = generator, []

    def __getattr__(self, name):
        return getattr(self.generator, name)

    def normal(self, *arguments, **keywords):
        self.log.append(self.generator.normal(*arguments, **keywords))
        return self.log[-1]


def physical_steps(name, oracle, episodes):
    """Single steps of the package: `(time, state, action, noise)` before, `(observation, ..., state)` after."""
    before, after = [], []
    for seed in range(episodes):
        draw = np.random.default_rng(seed)
        oracle.reset(seed=seed)
        oracle._np_random = Recorded(oracle.np_random)
        first, _ = oracle.reset()
        time, noise = 0, oracle._np_random.log[-1:]
        scale = oracle.noise_sigma if "Noisy" in name else np.ones(2)
        before.append((-1, np.array(oracle.state), np.zeros(1), noise[-1] / scale if "Noisy" in name else np.zeros(2)))
        after.append((np.asarray(first), 0.0, False, False, np.array(oracle.state)))
        while not after[-1][2] and not after[-1][3]:
            state = np.array(oracle.state)
            balance = float(state @ np.array([0.05, 0.1, 1.0, 0.5]) > 0) if "CartPole" in name else draw.normal()
            action = balance if draw.random() < (seed % 5) / 4 else float(draw.integers(2))
            action = np.array([action * (2.5 if "Pendulum" in name else 1)])
            outcome = oracle.step(action.astype(np.float32) if "Pendulum" in name else int(action[0]))[:4]
            noise = oracle._np_random.log[-1] / scale if "Noisy" in name else np.zeros(2)
            before.append((time, state, action, noise))
            after.append((*outcome, np.array(oracle.state)))
            time += 1
    return before, after


@pytest.mark.parametrize("level", DIFFICULTIES)
@pytest.mark.parametrize("name", PHYSICAL)
def test_the_same_steps(name, level):
    """One step at a time from the package's state, since float32 and float64 drift apart when left alone."""
    options = {"popgym_compat": True} if name.startswith("Velocity") else {}
    env, params = make(f"memory::{name}{level}", **options)
    before, after = physical_steps(name, getattr(popgym, name + level)(), EPISODES)

    def step(time, physics, action, noise):
        first, state = env.start((physics, noise), params)
        action = action if "Pendulum" in name else action[0].astype(jnp.int32)
        observation, state, reward, terminated = env.transition(state.replace(time=time), action, noise, params)
        began = time < 0
        later = (observation, reward, terminated, env.is_truncated(state, params), state.physics)
        at_first = (first, 0.0, False, False, physics)
        return tuple(jnp.where(began, x, y) for x, y in zip(at_first, later, strict=True))

    given = [np.array(column, np.float32) for column in zip(*before, strict=True)]
    found = jit(jax.vmap(step))(given[0].astype(np.int32), *given[1:])
    for mine, theirs in zip(found, zip(*after, strict=True), strict=True):
        np.testing.assert_allclose(mine, np.array(theirs), rtol=1e-5, atol=2e-5)
    ends = {(bool(x[2]), bool(x[3])) for x in after}
    assert ends >= ({(True, False)} if "CartPole" in name else {(False, True)})


def test_velocities_are_shown_from_the_first_observation_on():
    env, params = make("memory::VelocityOnlyCartPoleEasy")
    physics = jnp.array([0.01, 0.02, 0.03, 0.04])
    np.testing.assert_allclose(env.start((physics, jnp.zeros(2)), params)[0], [0.02, 0.04])
