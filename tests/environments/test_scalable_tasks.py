"""The tasks of any length: scripted policies score what is stated, and what is drawn is drawn fairly."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.fast_compile import jit

from memorax.environments import make
from memorax.environments.memory import TASKS

EPISODES = 1500


def play(env, params, policy, memory, key, steps):
    """Return of the first episodes within `steps`; `policy(memory, observation, reward, key) -> action, memory`."""

    def act(loop, key):
        observation, state, reward, memory, alive = loop
        policy_key, step_key = jax.random.split(key)
        action, memory = policy(memory, observation, reward, policy_key)
        observation, state, reward, terminated, truncated, info = env.step(step_key, state, action, params)
        ended = info.get("trial_begins", terminated | truncated)
        return (observation, state, reward, memory, alive & ~ended), (jnp.where(alive, reward, 0.0), ended)

    reset_key, step_key = jax.random.split(key)
    observation, state = env.reset(reset_key, params)
    start = (observation, state, jnp.float32(0), memory, jnp.asarray(True))
    _, (rewards, ended) = jax.lax.scan(act, start, jax.random.split(step_key, steps))
    return rewards.sum(), ended.any()


def remember(shown, keep, default):
    """A memory of one number: what is shown, if anything is, or else what was kept."""
    return jnp.where(shown.any(), jnp.argmax(shown), keep) if default is None else jnp.where(shown != 0, shown, keep)


def copy(memory, observation, reward, key):
    queue, written, read = memory
    symbol, write = observation[:-2], observation[-1] == 1
    queue = queue.at[written].set(jnp.where(symbol.any(), jnp.argmax(symbol), queue[written]))
    return queue[read], (queue, written + symbol.any(), read + write)


def recall(memory, observation, reward, key, first=False):
    asked, value = jnp.argmax(observation[:8]), observation[8:12]
    told = value.any() & ~(first & (memory[asked] >= 0))
    memory = memory.at[asked].set(jnp.where(told, jnp.argmax(value), memory[asked]))
    return memory[asked], memory


def open_door(memory, observation, reward, key):
    memory = remember(observation[:3], memory, None)
    return jnp.where(observation[-1] == 1, memory, 3), memory


def find_arm(memory, observation, reward, key):
    """The next arm until one pays; from the first again where a trial begins."""
    arm, pulled = memory
    arm = jnp.where(observation[0] == 1, 0, jnp.where(pulled & (reward == 0), arm + 1, arm))
    return arm, (arm, jnp.asarray(True))


def deadline(memory, observation, reward, key):
    """Ask first where there is someone to ask (goal unknown), walk, turn."""
    memory = remember(jnp.where(observation[0] == 0, observation[1], 0), memory, 0)
    turn = jnp.where(memory > 0, 1, 3)
    there = (observation[0] == 1) & (observation[1] == 0)
    return jnp.where(memory == 0, 2, jnp.where(there, turn, 0)), memory


def turn_up(memory, observation, reward, key):
    return jnp.where((observation[0] == 1) & (observation[1] == 0), 1, 0), memory


def umbrella(memory, observation, reward, key):
    return observation[0].astype(jnp.int32), memory


def chain(memory, observation, reward, key):
    bits = observation[2:]
    memory = jnp.where(bits.any(), bits, memory)
    return (memory[observation[1].astype(jnp.int32)] > 0).astype(jnp.int32), memory


def keep_cue(memory, observation, reward, key):
    memory = remember(observation[1], memory, 0)
    return (memory > 0).astype(jnp.int32), memory


def maze(memory, observation, reward, key):
    memory = remember(observation[:2], memory, None)
    return jnp.where(observation[3] == 1, memory, 2), memory


def if_up(memory, observation, reward, key):
    """Walk and turn up where the sign says up; else stay."""
    return jnp.where(observation[1] == 1, 3, jnp.where(observation[3] == 1, 0, 2)), memory


def always(action):
    return lambda memory, observation, reward, key: (jnp.int32(action), memory)


COPY = (jnp.zeros(4, jnp.int32), jnp.int32(0), jnp.int32(0))
TABLE = jnp.full(8, -1)
PLAYERS = {
    "UmbrellaChain": ({}, umbrella, (), umbrella, 0.0),
    "Copy": ({"length": 5, "items": 3}, copy, COPY, always(2), 1 / 4),
    "SelectiveCopy": ({"length": 7, "symbols": 5}, copy, COPY, always(1), 1 / 5),
    "AssociativeRecall": ({"length": 3}, recall, TABLE, always(0), 1 / 4),
    "AssociativeRecall overwritten": ({"pairs": 12, "length": 2, "overwrite": True}, recall, TABLE, always(0), 1 / 4),
    "PassiveKeyToDoor": ({"length": 6, "noise": 0.3}, open_door, jnp.int32(0), always(1), 1 / 4),
    "ActiveKeyToDoor": ({"length": 6}, open_door, jnp.int32(0), always(1), 1 / 4),
    "OneGoodArm": ({"pulls": 4, "arms": 5}, find_arm, (jnp.int32(0), jnp.asarray(False)), always(3), 1 / 5),
    "OneGoodArm trial": (
        {"pulls": 2, "arms": 5, "episodes_per_trial": 4},
        find_arm,
        (jnp.int32(0), jnp.asarray(False)),
        always(3),
        1 / 5,
    ),
    "TMazePassive": ({"length": 5}, deadline, jnp.float32(0), turn_up, None),
    "TMazePassive action": ({"length": 5, "penalty": "action"}, deadline, jnp.float32(0), turn_up, None),
    "TMazeActive": ({"length": 5}, deadline, jnp.float32(0), turn_up, None),
    "TMazeActive action": ({"length": 5, "penalty": "action"}, deadline, jnp.float32(0), None, None),
    "MemoryChain": ({"length": 6, "num_bits": 3}, chain, jnp.zeros(3), always(1), 0.0),
    "DistractedRecall": ({"length": 4, "distractors": 3}, keep_cue, jnp.float32(0), always(1), 0.0),
    "TMaze": ({"length": 4, "max_steps": 9}, maze, jnp.int32(0), if_up, None),
}


@pytest.mark.parametrize("name", PLAYERS)
def test_policies_score_what_is_stated(name):
    """The best with memory, the best without, and a random one."""
    arguments, best, memory, memoryless, random = PLAYERS[name]
    env, params = make(f"memory::{name.split()[0]}", **arguments)
    trial = getattr(env, "episodes_per_trial", 1)

    def one_of(who):
        def policy(memory, observation, reward, key):
            action, memory = best(memory, observation, reward, key)
            random = env.action_space(params).sample(key)
            other = random if memoryless is None else memoryless((), observation, reward, key)[0]
            return jnp.stack([action, other, random])[who], memory

        return policy

    def every(who, key):
        return play(env, params, one_of(who), memory, key, env.horizon(params) * trial)

    keys = jax.random.split(jax.random.key(0), 3 * EPISODES)
    returns, ended = jit(jax.vmap(every))(jnp.repeat(jnp.arange(3), EPISODES), keys)
    returns, ended = (x.reshape(3, EPISODES).T for x in (returns, ended))
    assert ended[:, 0].all()
    returns = np.asarray(returns, np.float64) / trial
    stated = (env.optimal_return, env.memoryless_return, random)
    for scores, expected in zip(returns.T, stated, strict=True):
        if expected is not None:
            assert abs(scores.mean() - expected) < 4.5 * scores.std() / np.sqrt(EPISODES) + 1e-5
    assert returns[:, 1:].mean(axis=0).max() <= returns[:, 0].mean() + 0.3 * (name == "UmbrellaChain")


def test_the_first_value_is_not_what_counts_where_values_are_overwritten():
    env, params = make("memory::AssociativeRecall", pairs=12, overwrite=True)
    first = functools.partial(recall, first=True)
    run = jit(jax.vmap(lambda key: play(env, params, first, TABLE, key, env.horizon())[0]))
    assert 0.3 < run(jax.random.split(jax.random.key(0), 500)).mean() < 0.8


@functools.cache
def best_of_two(pulls, first=(0, 0), second=(0, 0)):
    """Expected wins and the best arm, by recursion over `(wins, losses)` of both arms."""
    if not pulls:
        return 0.0, 0
    values = []
    for arm, (won, lost) in enumerate((first, second)):
        better, worse = ((won + 1, lost), (won, lost + 1))
        after = [(x, second) if arm == 0 else (first, x) for x in (better, worse)]
        chance = (won + 1) / (won + lost + 2)
        win, lose = (best_of_two(pulls - 1, *state)[0] for state in after)
        values.append(chance * (1 + win) + (1 - chance) * lose)
    return max(values), int(np.argmax(values))


@pytest.mark.parametrize(("pulls", "episodes", "total"), [(1, 1, 1 / 2), (2, 1, 13 / 12), (1, 3, 5 / 3), (3, 4, None)])
def test_the_optimum_of_two_bernoulli_arms(pulls, episodes, total):
    env = make("memory::BernoulliBandit", pulls=pulls, episodes_per_trial=episodes)[0]
    expected = best_of_two(pulls * episodes)[0]
    assert total is None or expected == pytest.approx(total)
    assert env.optimal_return == pytest.approx(expected / (pulls * episodes))
    assert env.memoryless_return == 0.5


def test_two_bernoulli_arms_are_played():
    """The best policy as a table of wins and losses, the memoryless and the random one."""
    env, params = make("memory::BernoulliBandit", pulls=5)
    table = np.zeros((6, 6, 6, 6), np.int32)
    for a, b, c, d in np.ndindex(*table.shape):
        if a + b + c + d < 5:
            table[a, b, c, d] = best_of_two(5 - a - b - c - d, (a, b), (c, d))[1]

    def best(memory, observation, reward, key):
        counts, arm = memory
        place = jnp.where(reward > 0, 2 * arm, 2 * arm + 1)
        counts = jnp.where(observation[0] == 1, counts, counts.at[place].add(1))
        arm = jnp.asarray(table)[tuple(counts)]
        return arm, (counts, arm)

    start = (jnp.zeros(4, jnp.int32), jnp.int32(0))

    def at_random(memory, observation, reward, key):
        return env.action_space(params).sample(key), memory

    players = ((best, start), (always(1), ()), (at_random, ()))

    def each(key):
        return jnp.stack([play(env, params, *player, key, 5)[0] for player in players])

    returns = np.asarray(jit(jax.vmap(each))(jax.random.split(jax.random.key(0), 4000)))
    for scores, expected in zip(returns.T, (env.optimal_return, env.memoryless_return, 0.5), strict=True):
        assert abs(scores.mean() - expected) < 4 * scores.std() / np.sqrt(4000)


def test_arms_stay_for_a_trial():
    """Three episodes of two pulls: the flag, the arms, the observation, and a reset that begins a trial."""
    env, params = make("memory::BernoulliBandit", pulls=2, arms=3, episodes_per_trial=3)
    assert (env.optimal_return, env.steps_per_trial, env.memory_length()) == (None, 6, 5)

    def act(state, key):
        observation, after, _, terminated, truncated, info = env.step(key, state, jnp.int32(0), params)
        return after, (observation[0], after.arms, after.episode, terminated | truncated, info["trial_begins"])

    first, state = env.reset(jax.random.key(0), params)
    run = jit(lambda state: jax.lax.scan(act, state, jax.random.split(jax.random.key(1), 15))[1])
    flags, arms, episode, done, begins = map(np.asarray, run(state))
    np.testing.assert_array_equal(done, [False, True] * 7 + [False])
    np.testing.assert_array_equal(np.flatnonzero(begins), [5, 11])
    np.testing.assert_array_equal(flags, begins)
    np.testing.assert_array_equal(episode[:7], [0, 1, 1, 2, 2, 0, 0])
    for trial in (slice(0, 5), slice(5, 11), slice(11, 15)):
        assert (arms[trial] == arms[trial][0]).all()
    assert len(np.unique(arms, axis=0)) == 3
    np.testing.assert_array_equal(arms[0], state.arms)
    assert first[0] == 1


def watch(name, steps, **arguments):
    """Observations of many episodes, `[episodes, steps + 1, features]`."""
    env, params = make(f"memory::{name}", **arguments)

    def run(key):
        def act(state, key):
            _, state, *_, info = env.step(key, state, jnp.int32(0), params)
            return state, info["final_observation"]

        observation, state = env.reset(key, params)
        return jnp.concatenate([observation[None], jax.lax.scan(act, state, jax.random.split(key, steps))[1]])

    return np.asarray(jit(jax.vmap(run))(jax.random.split(jax.random.key(2), 4000)))


def test_scattered_symbols_are_scattered_fairly():
    stats = pytest.importorskip("scipy.stats")
    seen = watch("SelectiveCopy", 5, items=2, symbols=3, length=4)
    shown = seen[:, :, :3].any(axis=2)
    np.testing.assert_array_equal(shown.sum(axis=1), 2)
    np.testing.assert_array_equal(seen[:, :, 3], ~shown)
    pairs = (shown * 2 ** np.arange(6)).sum(axis=1)
    assert len(np.unique(pairs)) == 15
    assert stats.chisquare(np.unique(pairs, return_counts=True)[1]).pvalue > 1e-3
    assert stats.chisquare(seen[:, :, :3].sum(axis=(0, 1))).pvalue > 1e-3


@pytest.mark.parametrize("overwrite", [False, True])
def test_keys_and_questions_are_drawn_fairly(overwrite):
    stats = pytest.importorskip("scipy.stats")
    seen = watch("AssociativeRecall", 5, pairs=3, keys=4, values=2, queries=2, length=1, overwrite=overwrite)
    keys = np.where(seen[:, :, :4].any(axis=2), seen[:, :, :4].argmax(axis=2), -1)
    assert (keys[:, 3] == -1).all()
    assert ((keys[:, 4:][:, :1, None] == keys[:, None, :3]).any(axis=2)).all()
    distinct = np.array([len(set(row)) for row in keys[:, :3]])
    assert (distinct == 3).all() != overwrite
    for time in (0, 1, 2, 4):
        assert stats.chisquare(np.bincount(keys[:, time], minlength=4)).pvalue > 1e-3
    # Which of the three distinct keys is asked for.
    rows = keys[distinct == 3]
    assert stats.chisquare([(rows[:, 4] == rows[:, i]).sum() for i in range(3)]).pvalue > 1e-3
    assert stats.chisquare(seen[:, :3, 4:6].sum(axis=(0, 1))).pvalue > 1e-3
    np.testing.assert_array_equal(seen[:, :, 6], [[0, 0, 0, 0, 1, 1]] * len(seen))


LONG = ("TMaze", "TMazePassive", "TMazeActive", "MemoryChain", "UmbrellaChain", "Copy", "SelectiveCopy")
LONG = (*LONG, "AssociativeRecall", "PassiveKeyToDoor", "ActiveKeyToDoor", "DistractedRecall")


@pytest.mark.parametrize("name", LONG)
def test_one_number_sets_the_demand(name):
    """Memory, or for UmbrellaChain credit, grows by as many steps as the length, and no state grows with it."""
    assert name in TASKS
    short, long = (make(f"memory::{name}", length=n) for n in (10, 1500))
    demand = "credit_length" if name == "UmbrellaChain" else "memory_length"
    lengths = [getattr(env, demand)(params) for env, params in (short, long)]
    assert lengths[1] - lengths[0] == 1490
    # The same program serves every length: it is a parameter.
    assert short[0].memory_length(long[1]) == long[0].memory_length()
    assert short[0].horizon(long[1]) == long[0].horizon()
    states = [jax.eval_shape(env.reset, jax.random.key(0), params)[1] for env, params in (short, long)]
    assert states[0] == states[1]


def test_credit_lengths():
    credit = {name: make(f"memory::{name}", length=7)[0].credit_length() for name in LONG}
    delayed = {"TMazeActive": 10, "UmbrellaChain": 7, "ActiveKeyToDoor": 10}
    assert credit == {name: delayed.get(name, 1) for name in LONG}
    assert make("memory::OneGoodArm")[0].credit_length() is None


@pytest.mark.parametrize(
    ("name", "arguments", "error", "message"),
    [
        ("UmbrellaChain", {"length": 0}, ValueError, "`length` must be at least 1, got 0"),
        ("UmbrellaChain", {"distractors": -1}, ValueError, "`distractors` must be at least 0, got -1"),
        ("DistractedRecall", {"length": -1}, ValueError, "`length` must be at least 0, got -1"),
        ("DistractedRecall", {"distractors": 0.5}, TypeError, "`distractors` must be an integer, got 0.5"),
        ("Copy", {"length": -1}, ValueError, "`length` must be at least 0, got -1"),
        ("Copy", {"items": 0}, ValueError, "`items` must be at least 1, got 0"),
        ("SelectiveCopy", {"symbols": 1}, ValueError, "`symbols` must be at least 2, got 1"),
        ("AssociativeRecall", {"pairs": 9}, ValueError, r"`keys` \(8\) must be at least `pairs` \(9\)"),
        ("AssociativeRecall", {"queries": 1.5}, TypeError, "`queries` must be an integer, got 1.5"),
        ("PassiveKeyToDoor", {"colors": 1}, ValueError, "`colors` must be at least 2, got 1"),
        ("ActiveKeyToDoor", {"length": 0}, ValueError, "`length` must be at least 1, got 0"),
        ("PassiveKeyToDoor", {"noise": -1.0}, ValueError, "`noise` must be at least 0, got -1.0"),
        ("OneGoodArm", {"pulls": 0}, ValueError, "`pulls` must be at least 1, got 0"),
        ("BernoulliBandit", {"arms": 1}, ValueError, "`arms` must be at least 2, got 1"),
        ("OneGoodArm", {"episodes_per_trial": 0}, ValueError, "`episodes_per_trial` must be at least 1, got 0"),
        ("TMazeActive", {"penalty": "actions"}, ValueError, "`penalty` must be a number or 'action', got 'actions'"),
    ],
)
def test_a_wrong_argument_is_refused(name, arguments, error, message):
    with pytest.raises(error, match=message):
        make(f"memory::{name}", **arguments)
