"""The embedded tasks against their references, step by step, with the hidden state laid by hand."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.environments import reference_tasks
from tests.fast_compile import jit

from memorax.environments import make
from memorax.environments.memory.parts.deck import deal, full, take

MIXES = (0.0, 0.6, 1.0)
PADDED = 1024


@functools.cache
def replay(name, **kwargs):
    """The rules of a task, jitted: `(hidden, actions, drawn) -> first observation, what each step gave`."""
    env, params = make(name, **kwargs)

    def play(hidden, actions, drawn):
        def step(state, given):
            observation, state, reward, terminated = env.transition(state, given[0], given[1], params)
            return state, (observation, reward, terminated, env.is_truncated(state, params))

        first, state = env.start(hidden, params)
        return first, jax.lax.scan(step, state, (actions, drawn))[1]

    return env, jit(play)


def compare(name, kwargs, hidden, reference, mix, cards=None):
    env, play = replay(name, **kwargs)
    observations, (actions, rewards, terminated, truncated) = reference_tasks.run(reference, mix, seed=7)
    length = len(actions)
    # Played on past the end, so that episodes of all lengths share one compilation.
    padded = np.zeros(PADDED, np.int32)
    padded[:length] = actions
    drawn = np.zeros(PADDED, np.int32)
    if cards is not None:
        drawn[:length] = cards[1 : length + 1]
    first, (*found,) = play(hidden, padded, drawn)
    found = [np.asarray(x)[:length] for x in found]
    np.testing.assert_allclose(first, observations[0])
    np.testing.assert_allclose(found[0], observations[1:], rtol=0, atol=1e-6)
    np.testing.assert_allclose(found[1], rewards, rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(found[2], terminated)
    np.testing.assert_array_equal(found[3], truncated)
    if mix == 1.0:
        assert np.sum(found[1], dtype=np.float64) == pytest.approx(env.optimal_return, abs=1e-4)
    return length


def shuffled(decks, seed):
    return np.random.default_rng(seed).permutation(np.arange(52 * decks) % 4)


@pytest.mark.parametrize(("level", "decks", "k"), [("Easy", 1, 4), ("Medium", 2, 32), ("Hard", 3, 64)])
def test_repeat_previous(level, decks, k):
    for seed, mix in enumerate(MIXES):
        cards = shuffled(decks, seed)
        reference = reference_tasks.RepeatPrevious(cards, k)
        assert (
            compare(f"memory::RepeatPrevious{level}", {}, jnp.int32(cards[0]), reference, mix, cards) == 52 * decks - 1
        )


@pytest.mark.parametrize(("level", "decks"), [("Easy", 1), ("Medium", 8), ("Hard", 16)])
def test_repeat_first(level, decks):
    for seed, mix in enumerate(MIXES):
        cards = shuffled(decks, seed)
        reference = reference_tasks.RepeatFirst(cards)
        assert compare(f"memory::RepeatFirst{level}", {}, jnp.int32(cards[0]), reference, mix, cards) == 52 * decks - 1


@pytest.mark.parametrize("goal", [0, 1])
@pytest.mark.parametrize("settings", [{"length": 1}, {"length": 5}, {"length": 6, "max_steps": 11}])
def test_t_maze(settings, goal):
    for mix in MIXES:
        reference = reference_tasks.TMaze(goal, **settings)
        length = compare("memory::TMaze", settings, jnp.int32(goal), reference, mix)
        assert mix < 1 or length == settings["length"] + 2


@pytest.mark.parametrize("goal", [-1, 1])
@pytest.mark.parametrize(("name", "active"), [("memory::TMazePassive", False), ("memory::TMazeActive", True)])
def test_t_maze_with_a_deadline(name, active, goal):
    for length in (1, 6):
        for mix in MIXES:
            reference = reference_tasks.DeadlineTMaze(goal, length, active)
            assert compare(name, {"length": length}, jnp.int32(goal), reference, mix) == length + 2 * active + 1


@pytest.mark.parametrize(("length", "num_bits"), [(1, 1), (7, 3)])
def test_memory_chain(length, num_bits):
    for seed, mix in enumerate(MIXES):
        draw = np.random.default_rng(seed)
        bits, query = draw.integers(2, size=num_bits), int(draw.integers(num_bits))
        reference = reference_tasks.MemoryChain(bits.tolist(), query, length)
        hidden = (jnp.asarray(bits, jnp.int32), jnp.int32(query))
        assert (
            compare("memory::MemoryChain", {"length": length, "num_bits": num_bits}, hidden, reference, mix)
            == length + 1
        )


@pytest.mark.parametrize(
    ("task", "level", "limit", "noise"),
    [
        ("PositionOnlyCartPole", "Easy", 200, 0.0),
        ("PositionOnlyCartPole", "Medium", 400, 0.0),
        ("PositionOnlyCartPole", "Hard", 600, 0.0),
        ("NoisyPositionOnlyCartPole", "Easy", 200, 0.1),
        ("NoisyPositionOnlyCartPole", "Medium", 200, 0.2),
        ("NoisyPositionOnlyCartPole", "Hard", 200, 0.3),
    ],
)
def test_cart_pole(task, level, limit, noise):
    """One step at a time from the reference's state, since float32 and float64 drift apart when left alone."""
    env, params = make(f"memory::{task}{level}")
    draw = np.random.default_rng(3)
    before, actions, drawn, after = [], [], [], []
    while len(actions) < 300:
        reference = reference_tasks.CartPole(draw.uniform(-0.05, 0.05, 4) * draw.choice([1, 40]), limit, noise)
        reference.time = int(draw.choice([0, limit - 5]))
        ended = False
        while not ended:
            before.append((reference.time, reference.physics))
            actions.append(int(draw.integers(2)))
            drawn.append(draw.normal(size=2))
            after.append((*reference.step(actions[-1], drawn[-1]), reference.physics))
            ended = after[-1][2] or after[-1][3]

    def step(time, physics, action, noises):
        _, state = env.start((physics, noises), params)
        observation, state, reward, terminated = env.transition(state.replace(time=time), action, noises, params)
        return observation, reward, terminated, env.is_truncated(state, params), state.physics

    times, physics = (np.array(column) for column in zip(*before, strict=True))
    given = (times.astype(np.int32), physics.astype(np.float32), np.array(actions), np.array(drawn, np.float32))
    found = jit(jax.vmap(step))(*given)
    for ours, theirs in zip(found, zip(*after, strict=True), strict=True):
        np.testing.assert_allclose(ours, np.array(theirs), rtol=1e-5, atol=2e-5)
    assert {tuple(x[2:4]) for x in after} >= {(False, False), (True, False), (False, True)}


def test_a_pole_can_be_balanced_from_positions():
    """A controller that remembers the last observation scores the stated optimum."""
    env, params = make("memory::PositionOnlyCartPoleHard")

    def episode(key):
        observation, state = env.reset(key, params)

        def act(loop, key):
            observation, last, state = loop
            (x, angle), (dx, spin) = observation, (observation - last) / 0.02
            action = (angle + 0.4 * spin + 0.05 * x + 0.1 * dx > 0).astype(jnp.int32)
            after, state, reward, terminated, truncated, _ = env.step(key, state, action, params)
            return (after, observation, state), (reward, terminated, truncated)

        return jax.lax.scan(act, (observation, observation, state), jax.random.split(key, 600))[1]

    reward, terminated, truncated = jit(jax.vmap(episode))(jax.random.split(jax.random.key(0), 5))
    assert not terminated.any()
    np.testing.assert_array_equal(truncated.sum(axis=1), 1)
    np.testing.assert_allclose(reward.sum(axis=1), env.optimal_return, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "policy"),
    [("memory::RepeatPreviousEasy", lambda suit: (suit + 1) % 4), ("memory::RepeatFirstEasy", lambda suit: suit)],
)
def test_the_memoryless_return_is_reached(name, policy):
    env, params = make(name)

    def episode(key):
        def act(loop, key):
            observation, state = loop
            observation, state, reward, *_ = env.step(key, state, policy(jnp.argmax(observation)), params)
            return (observation, state), reward

        return jax.lax.scan(act, env.reset(key, params), jax.random.split(key, env.horizon(params)))[1].sum()

    returns = np.asarray(jit(jax.vmap(episode))(jax.random.split(jax.random.key(0), 4000)))
    error = returns.std() / np.sqrt(len(returns))
    assert error < 0.003
    assert abs(returns.mean() - env.memoryless_return) < 4 * error


@pytest.fixture(scope="module")
def dealt():
    """Whole decks as they are dealt, `[episodes, 52]`."""

    def episode(key):
        def one(left, key):
            suit = deal(key, left)
            return take(left, suit), suit

        return jax.lax.scan(one, full(1), jax.random.split(key, 52))[1]

    return np.asarray(jit(jax.vmap(episode))(jax.random.split(jax.random.key(5), 4000)))


def test_every_card_is_dealt_once(dealt):
    for suit in range(4):
        np.testing.assert_array_equal((dealt == suit).sum(axis=1), 13)


def test_every_position_is_uniform(dealt):
    stats = pytest.importorskip("scipy.stats")
    counts = np.stack([(dealt == suit).sum(axis=0) for suit in range(4)], axis=1)
    p_values = stats.chisquare(counts, axis=1).pvalue
    assert p_values.min() > 1e-3 / 52
    assert stats.kstest(p_values, "uniform").pvalue > 1e-4


@pytest.mark.parametrize(("first", "second"), [(0, 1), (10, 51), (50, 51)])
def test_two_cards_match_as_often_as_in_a_shuffled_deck(dealt, first, second):
    stats = pytest.importorskip("scipy.stats")
    same = int((dealt[:, first] == dealt[:, second]).sum())
    assert stats.binomtest(same, len(dealt), 12 / 51).pvalue > 1e-4
