"""The rules of the card tasks, with the cards laid by hand, and the returns their docstrings state."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.environments.fixed_cards import mean_return, play

from memorax.environments.memory.parts.deck import full, pick, remaining, take


def shuffled(symbols, seed=0):
    return np.random.default_rng(seed).permutation(np.arange(52) % symbols)


def test_a_card_is_picked_by_its_number_among_those_that_are_left():
    """Two cards of symbol 0, none of 1, four of 2, one of 3; and again from the eighth number on."""
    left = jnp.array([2, 2, 6, 7])
    found = jax.vmap(lambda word: pick(word, left))(jnp.arange(9, dtype=jnp.uint32))
    np.testing.assert_array_equal(found, [0, 0, 2, 2, 2, 2, 3, 0, 0])
    assert pick(jnp.uint32(2**32 - 1), left) == pick(jnp.uint32((2**32 - 1) % 7), left) == 2
    assert 0 <= pick(jnp.uint32(9), jnp.zeros(4, jnp.int32)) < 4
    np.testing.assert_array_equal([remaining(left, symbol) for symbol in range(4)], [2, 0, 4, 1])
    np.testing.assert_array_equal([remaining(take(left, 2), symbol) for symbol in range(4)], [2, 0, 3, 1])
    np.testing.assert_array_equal([remaining(full(3, 13), symbol) for symbol in (0, 12)], 12)


def test_autoencode_asks_backwards():
    cards = shuffled(4)
    right = np.concatenate([np.full(51, 3), cards[::-1]])
    seen, rewards, terminated, truncated = play("AutoencodeEasy", jnp.int32(cards[0]), right, cards[1:])
    np.testing.assert_array_equal(seen[:52, 2:], np.eye(4)[cards])
    # The last card is the first that is asked for.
    np.testing.assert_array_equal(seen[:, 1], np.arange(104) < 51)
    np.testing.assert_array_equal(seen[:, 0], 1 - seen[:, 1])
    np.testing.assert_array_equal(seen[52:, 2:], np.eye(4)[np.zeros(52, int)])
    np.testing.assert_allclose(rewards, np.where(np.arange(103) < 51, 0, 1 / 52))
    assert terminated.argmax() == 102
    assert not truncated.any()
    wrong = play("AutoencodeEasy", jnp.int32(cards[0]), (right + 1) % 4, cards[1:])[1]
    np.testing.assert_allclose(wrong, -rewards)


def test_count_recall_counts_the_card_on_show():
    values, queries = shuffled(2, 1), shuffled(2, 2)
    counts = [(values[: time + 1] == queries[time]).sum() for time in range(51)]
    drawn = np.stack([values, queries], 1)
    seen, rewards, terminated, _ = play("CountRecallEasy", jnp.asarray(drawn[0]), counts, drawn[1:])
    np.testing.assert_array_equal(seen, np.concatenate([np.eye(2)[values], np.eye(2)[queries]], axis=1))
    np.testing.assert_allclose(rewards, 1 / 51)
    assert terminated.argmax() == 50
    wrong = (np.array(counts) + 1) % 27
    np.testing.assert_allclose(play("CountRecallEasy", jnp.asarray(drawn[0]), wrong, drawn[1:])[1], -1 / 51)


def test_higher_lower_pays_nothing_for_a_tie():
    ranks = np.array([3, 3, 5, 5, 2, 12, 0, *shuffled(13)])[:52]
    seen, rewards, terminated, _ = play("HigherLowerEasy", jnp.int32(3), np.zeros(51, int), ranks[1:])
    np.testing.assert_array_equal(seen, np.eye(13)[ranks])
    np.testing.assert_allclose(rewards, np.sign(np.diff(ranks)) / 52)
    np.testing.assert_allclose(play("HigherLowerEasy", jnp.int32(3), np.ones(51, int), ranks[1:])[1], -rewards)
    assert terminated.argmax() == 50


BOARD = np.arange(52) % 2
"""Cards of two colors in turns: cards 0 and 2 are a pair, cards 0 and 1 are none."""


def turn(*cards):
    seen, rewards, terminated, truncated = play("ConcentrationEasy", (), cards, BOARD[list(cards)])
    return seen.reshape(-1, 52, 3).argmax(-1), rewards * 104, terminated, truncated


def test_concentration_shows_a_pair_that_does_not_match_once():
    seen, rewards, _, _ = turn(0, 1, 5)
    assert (seen[0] == 2).all()
    for time, visible in ((1, [0]), (2, [0, 1]), (3, [5])):
        np.testing.assert_array_equal(seen[time], np.where(np.isin(np.arange(52), visible), BOARD, 2))
    np.testing.assert_allclose(rewards, [0, -2, 0], rtol=1e-5)


def test_concentration_keeps_pairs_up_and_punishes_touching_them():
    seen, rewards, _, _ = turn(0, 2, 2, 1, 0, 4, 4, 6, 8)
    # A pair; an open card as first, then as second; the same card twice; another pair.
    np.testing.assert_allclose(rewards, [0, 4, -1, 0, -2, 0, -2, 0, 4], rtol=1e-5)
    np.testing.assert_array_equal(np.flatnonzero(seen[5] != 2), [0, 1, 2])
    np.testing.assert_array_equal(np.flatnonzero(seen[9] != 2), [0, 2, 6, 8])


def test_concentration_ends_with_the_last_pair_or_the_time():
    pairs = [card for group in range(13) for card in (4 * group, 4 * group + 2, 4 * group + 1, 4 * group + 3)]
    _, rewards, terminated, truncated = turn(*pairs)
    assert (terminated.argmax(), terminated.sum()) == (51, 1)
    assert not truncated.any()
    assert rewards.sum() / 104 == pytest.approx(1, abs=1e-5)
    _, _, terminated, truncated = turn(*[0, 1] * 52)
    np.testing.assert_array_equal(np.flatnonzero(truncated), [103])
    assert not terminated.any()


def count_and_guess(state, observation):
    lower = jnp.where(state.rank > 0, state.left[state.rank - 1], 0)
    return (state.left[12] - state.left[state.rank] < lower).astype(jnp.int32)


@pytest.mark.parametrize(
    ("name", "kind", "policy"),
    [
        ("HigherLowerEasy", "optimal_return", count_and_guess),
        ("HigherLowerEasy", "memoryless_return", lambda _, seen: (jnp.argmax(seen) > 6).astype(jnp.int32)),
        ("AutoencodeEasy", "memoryless_return", lambda _, seen: jnp.argmax(seen[2:])),
        ("CountRecallEasy", "memoryless_return", lambda _, seen: jnp.int32(7)),
    ],
)
def test_the_stated_returns_are_reached(name, kind, policy):
    env, mean, error = mean_return(name, policy)
    assert error < 0.005
    assert abs(mean - getattr(env, kind)) < 4 * error
