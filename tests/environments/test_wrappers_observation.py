"""Wrappers that change what is seen or paid: each against a plain computation from the untouched walk."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct
from tests.assertions import assert_close, assert_equal
from tests.fast_compile import jit

from memorax.core.spaces import Box, Dict, Discrete, Tuple
from memorax.environments import Environment, EnvState, make
from memorax.environments.memory import TMazePassive
from memorax.environments.wrappers import (
    ClipAction,
    DelayedObservation,
    FlickeringObservation,
    FrameStack,
    HideVelocity,
    MaskObservation,
    NoisyObservation,
    NormalizeObservation,
    NormalizeReward,
    PeriodicObservation,
    PreviousActionReward,
    RecordEpisodeStatistics,
    ScaleReward,
    TimeLimit,
)
from memorax.testing import environments as conformance

STEPS = 37


@struct.dataclass
class TaggedState(EnvState):
    tag: jax.Array


class Tagged(Environment):
    """Every observation names its episode: a random tag, the time, and their product. Five steps, some only three."""

    optimal_return, memoryless_return = 7.0, 3.0

    def reset_env(self, key, params):
        state = TaggedState(time=jnp.int32(0), tag=jax.random.uniform(key, (), minval=1.0, maxval=2.0))
        return self.see(state), state

    def see(self, state):
        return jnp.stack([state.tag, 1.0 + state.time, state.tag * (1.0 + state.time)]).astype(jnp.float32)

    def step_env(self, key, state, action, params):
        state = state.replace(time=state.time + 1)
        reward = jnp.float32(state.time) + action
        return self.see(state), state, reward, state.time >= 5, {"twice": 2 * state.time}

    def is_truncated(self, state, params):
        return (state.time == 3) & (state.tag > 1.6)

    def action_space(self, params=None):
        return Discrete(4)

    def observation_space(self, params=None):
        return Box(np.array([1.0, 1.0, 1.0]), np.array([2.0, 6.0, 12.0]))

    def memory_length(self, params=None):
        return 2


class Nested(Tagged):
    """The same in a dictionary."""

    def see(self, state):
        seen = super().see(state)
        return {"tag": seen[0], "rest": (seen[1:], jnp.int32(state.time))}

    def observation_space(self, params=None):
        rest = Tuple([Box(1.0, 12.0, (2,)), Box(0, 5, (), jnp.int32)])
        return Dict({"tag": Box(1.0, 2.0, ()), "rest": rest})


def walk(env, steps=STEPS):
    """First observation, and what each step was given and gave; the same keys and actions for every environment."""

    def act(state, key):
        action = env.action_space().sample(key)
        observation, state, reward, terminated, truncated, info = env.step(key, state, action)
        return state, {
            "observation": observation,
            "state": state,
            "action": action,
            "reward": reward,
            "terminated": terminated,
            "truncated": truncated,
            **info,
        }

    def run(key):
        observation, state = env.reset(key)
        return observation, jax.lax.scan(act, state, jax.random.split(key, steps))[1]

    return jax.tree.map(np.asarray, jit(run)(jax.random.key(3)))


@pytest.fixture(scope="module")
def plain():
    return walk(Tagged())


def episodes(first, log):
    """The observations, actions and rewards of each episode; an observation more than actions."""
    seen, actions, rewards = [first], [], []
    for t in range(len(log["reward"])):
        seen.append(jax.tree.map(lambda x, t=t: x[t], log["final_observation"]))
        actions.append(log["action"][t])
        rewards.append(log["reward"][t])
        if log["terminated"][t] | log["truncated"][t]:
            yield seen, actions, rewards
            seen, actions, rewards = [jax.tree.map(lambda x, t=t: x[t], log["observation"])], [], []
    yield seen, actions, rewards


def delayed(seen, actions, rewards):
    return [np.zeros(3)] * min(2, len(seen)) + seen[: max(len(seen) - 2, 0)]


def periodic(seen, actions, rewards):
    return [x if t % 3 == 0 else np.zeros(3) for t, x in enumerate(seen)]


def stacked(seen, actions, rewards):
    return [np.concatenate([seen[max(t - 1, 0)], seen[t]]) for t in range(len(seen))]


def with_previous(seen, actions, rewards):
    before = [np.zeros(5)] + [np.append(np.eye(4)[a], r) for a, r in zip(actions, rewards, strict=True)]
    return [np.concatenate(pair) for pair in zip(seen, before, strict=True)]


def each(change):
    return lambda seen, actions, rewards: [change(x) for x in seen]


MEAN, VARIANCE = np.array([1.5, 3.0, 5.0], np.float32), np.array([0.04, 4.0, 9.0], np.float32)

SHOWN = {
    "mask": (lambda env: MaskObservation(env, [1]), each(lambda x: x[[0, 2]])),
    "velocity": (lambda env: HideVelocity(env, (0, 2)), each(lambda x: x[[1]])),
    "noise of size 0": (lambda env: NoisyObservation(env, [0.0, 0.0, 0.0]), each(lambda x: x)),
    "no flicker": (lambda env: FlickeringObservation(env, 0.0), each(lambda x: x)),
    "all flicker": (lambda env: FlickeringObservation(env, 1.0), each(np.zeros_like)),
    "delay": (lambda env: DelayedObservation(env, 2), delayed),
    "period": (lambda env: PeriodicObservation(env, 3), periodic),
    "stack": (lambda env: FrameStack(env, 2), stacked),
    "previous": (PreviousActionReward, with_previous),
    "normalize": (
        lambda env: NormalizeObservation(env, MEAN, VARIANCE, clip=1.5),
        each(lambda x: np.clip((x - MEAN) / np.sqrt(VARIANCE), -1.5, 1.5)),
    ),
}


@functools.cache
def shown(name):
    env = SHOWN[name][0](Tagged())
    return env, *walk(env)


@pytest.mark.parametrize("name", SHOWN)
def test_what_is_shown(name, plain):
    """Within an episode as computed by hand; the last observation too; and nothing of the episode before."""
    env, first, log = shown(name)
    by_hand = [SHOWN[name][1](*episode) for episode in episodes(*plain)]
    assert len(by_hand) > 8
    final = [x for episode in by_hand for x in episode[1:]]
    following = [x for episode, after in itertools.pairwise(by_hand) for x in (*episode[1:-1], after[0])]
    np.testing.assert_allclose(first, by_hand[0][0], rtol=1e-5)
    np.testing.assert_allclose(log["final_observation"], final, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(log["observation"], following + by_hand[-1][1:], rtol=1e-5, atol=1e-6)
    space = env.observation_space()
    for seen in (first[None], log["observation"], log["final_observation"]):
        assert jax.vmap(space.contains)(seen).all()
        assert (seen.shape[1:], seen.dtype) == (space.shape, space.dtype)


@pytest.mark.parametrize("name", SHOWN)
def test_nothing_else_changes(name, plain):
    env, _, log = shown(name)
    inner = getattr(log["state"], "env_state", log["state"])
    for entry in ("action", "reward", "terminated", "truncated", "twice"):
        np.testing.assert_array_equal(log[entry], plain[1][entry])
    assert_equal(inner, plain[1]["state"])
    conformance.check_types(env, env.default_params)
    assert (env.action_space(), env.horizon(), env.credit_length()) == (Discrete(4), None, None)


def test_facts_are_told_only_where_they_hold():
    wrapped = {name: wrap(Tagged()) for name, (wrap, _) in SHOWN.items()}
    facts = {name: (env.optimal_return, env.memoryless_return, env.memory_length()) for name, env in wrapped.items()}
    known = {"stack": (7.0, None, None), "previous": (7.0, None, None), "normalize": (7.0, 3.0, 2)}
    assert facts == {name: known.get(name, (None, None, None)) for name in SHOWN}


@pytest.fixture(scope="module")
def nested():
    return walk(Nested())


@pytest.mark.parametrize(
    "wrap",
    [
        lambda env: FlickeringObservation(env, 0.4),
        lambda env: PeriodicObservation(DelayedObservation(env, 1), 2),
        lambda env: FrameStack(env, 3),
        PreviousActionReward,
        lambda env: MaskObservation(env, ["rest"]),
        lambda env: TimeLimit(FrameStack(RecordEpisodeStatistics(env), 2), 4),
    ],
    ids=["flicker", "period and delay", "stack", "previous", "mask", "limit, stack, statistics"],
)
def test_nested_observations(wrap, nested):
    env = wrap(Nested())
    first, log = walk(env)
    space = env.observation_space()
    for seen in (jax.tree.map(lambda x: x[None], first), log["observation"], log["final_observation"]):
        assert jax.vmap(space.contains)(seen).all()
        assert jax.tree.map(lambda x: x.dtype, seen) == space.dtype
    conformance.check_types(env, env.default_params)
    if not isinstance(env, TimeLimit):
        np.testing.assert_array_equal(log["reward"], nested[1]["reward"])
        np.testing.assert_array_equal(log["truncated"], nested[1]["truncated"])


def test_keys_of_a_dictionary_are_left_out(nested):
    log = walk(MaskObservation(Nested(), ["rest"]))[1]
    np.testing.assert_array_equal(log["observation"]["tag"], nested[1]["observation"]["tag"])
    assert list(log["final_observation"]) == ["tag"]


@pytest.fixture(scope="module")
def many():
    """Residuals of noisy walks, `[walks, time, 3]`, of final and of next observations, and where episodes ended."""

    def residuals(env):
        def act(state, key):
            observation, state, _, terminated, truncated, info = env.step(key, state, jnp.int32(0))
            plain = Tagged().see(state)
            # The observation before a reset is compared where there was none.
            return state, (observation - plain, info["final_observation"] - plain, terminated | truncated)

        def run(key):
            observation, state = env.reset(key)
            first = observation - Tagged().see(state)
            return first, jax.lax.scan(act, state, jax.random.split(key, 9))[1]

        return jax.tree.map(np.asarray, jit(jax.vmap(run))(jax.random.split(jax.random.key(0), 3000)))

    return residuals


def test_noise(many):
    first, (noise, final, done) = many(NoisyObservation(Tagged(), [0.5, 0.0, 2.0]))
    for sample in (first, noise[:, 0], noise[done], final[~done]):
        error = 4 / np.sqrt(len(sample))
        np.testing.assert_allclose(sample.mean(axis=0), 0, atol=2 * error)
        np.testing.assert_allclose(sample.std(axis=0), [0.5, 0, 2], rtol=error)
    np.testing.assert_array_equal(noise[~done], final[~done])
    pairs = np.concatenate([first[:, None], noise], axis=1).reshape(len(first), -1)[:, [0, 2, 3, 5, 6, 8]]
    off = np.corrcoef(pairs.T) - np.eye(6)
    assert np.abs(off).max() < 5 / np.sqrt(len(first))


def test_noise_on_noise_is_another_noise(many):
    """Two wrappers around each other do not use the same randomness."""
    _, (noise, _, _) = many(NoisyObservation(NoisyObservation(Tagged(), 1.0), 1.0))
    np.testing.assert_allclose(noise.std(axis=(0, 1)), np.sqrt(2), rtol=0.03)


def test_a_wrapper_has_randomness_of_its_own():
    """Not that of the inner environment, which splits the same key, and not that of another wrapper."""
    once, key = NoisyObservation(Tagged(), 1.0), jax.random.key(0)
    own = [env.own_key(key) for env in (once, FlickeringObservation(once), TimeLimit(FlickeringObservation(once), 9))]
    used = np.array([jax.random.key_data(k) for k in (*own, *jax.random.split(key, 64))])
    assert len(np.unique(used, axis=0)) == 3 + 64


def test_clipped_noise_stays_in_bounds():
    env = NoisyObservation(Tagged(), 3.0, clip=True)
    assert env.observation_space() == Tagged().observation_space()
    log = walk(env)[1]
    assert jax.vmap(env.observation_space().contains)(log["observation"]).all()
    assert (log["observation"] == np.array([2.0, 6.0, 12.0])).any()


def test_flicker(many):
    once, twice = (FlickeringObservation(Tagged(), 0.3), FlickeringObservation(Tagged(), 0.5))
    for env, share in ((once, 0.3), (FlickeringObservation(once, 0.5), 0.65), (twice, 0.5)):
        log = jit(jax.vmap(lambda key, env=env: env.reset(key)[0]))(jax.random.split(jax.random.key(1), 4000))
        lost = np.asarray(log) == 0
        np.testing.assert_array_equal(lost.all(axis=1), lost.any(axis=1))
        assert lost[:, 0].mean() == pytest.approx(share, abs=0.03)


def test_rewards_are_scaled_and_nothing_else(plain):
    env = ScaleReward(Tagged(), 0.5)
    log = walk(env)[1]
    np.testing.assert_array_equal(log.pop("reward"), 0.5 * plain[1]["reward"])
    assert_equal(log, {name: x for name, x in plain[1].items() if name != "reward"})
    assert (env.optimal_return, env.memoryless_return, env.memory_length()) == (3.5, 1.5, 2)
    assert ScaleReward(make("memory::BernoulliBandit", arms=3)[0], 2.0).optimal_return is None


def test_rewards_are_normalized_and_nothing_else(plain):
    for clip in (2.0, None):
        env = NormalizeReward(Tagged(), 3.99, epsilon=0.01, clip=clip)
        log = walk(env)[1]
        expected = plain[1]["reward"] / 2
        assert (expected > 2).any()
        np.testing.assert_allclose(log.pop("reward"), expected if clip is None else np.clip(expected, -2, 2), rtol=1e-6)
        assert_equal(log, {name: x for name, x in plain[1].items() if name != "reward"})
        facts = (env.optimal_return, env.memoryless_return)
        assert facts == ((None, None) if clip else pytest.approx((3.5, 1.5)))


class Continuous(Tagged):
    """Pays what the action is; does not clip it."""

    def action_space(self, params=None):
        return Box(np.array([-1.0, 0.0]), np.array([1.0, 3.0]))

    def step_env(self, key, state, action, params):
        observation, state, _, *rest = super().step_env(key, state, jnp.int32(0), params)
        return observation, state, action.sum(), *rest


def test_actions_are_clipped():
    env = ClipAction(Continuous())
    _, state = env.reset(jax.random.key(0))
    reward = [env.step(jax.random.key(1), state, jnp.array(a))[2] for a in ([5.0, -2.0], [-9.0, 9.0], [0.25, 1.0])]
    assert reward == [1.0, 2.0, 1.25]
    assert env.action_space() == Continuous().action_space()
    assert_equal(walk(env), walk(Continuous()))


def test_previous_actions_are_shown_within_their_bounds():
    env = PreviousActionReward(Continuous())
    _, state = env.reset(jax.random.key(0))
    shown, _, reward, *_ = env.step(jax.random.key(1), state, jnp.array([5.0, 9.0]))
    np.testing.assert_array_equal(shown[3:], [1.0, 3.0, reward])
    assert env.observation_space().contains(shown)


def test_statistics_inside_and_outside_of_a_wrapper(plain):
    inside = walk(PeriodicObservation(RecordEpisodeStatistics(Tagged()), 2))[1]
    outside = walk(RecordEpisodeStatistics(PeriodicObservation(ScaleReward(Tagged(), 2.0), 2)))[1]
    ends = plain[1]["terminated"] | plain[1]["truncated"]
    totals = [sum(rewards) for _, _, rewards in episodes(*plain)][: ends.sum()]
    np.testing.assert_allclose(inside["returned_episode_returns"][ends], totals)
    np.testing.assert_allclose(outside["returned_episode_returns"][ends], 2 * np.array(totals))
    np.testing.assert_array_equal(inside["returned_episode_lengths"], outside["returned_episode_lengths"])
    np.testing.assert_array_equal(inside["returned_episode"], ends)


def test_a_wrapper_paints_the_inner_state():
    env = RecordEpisodeStatistics(PeriodicObservation(TMazePassive(3), 2))
    _, state = env.reset(jax.random.key(0))
    inner = state.env_state.env_state
    np.testing.assert_array_equal(env.render(state), TMazePassive(3).render(inner))


def test_around_gymnax():
    """A whole stack around an environment of another library, batched: its rewards and ends are those without it."""
    pytest.importorskip("gymnax", reason="the extra `gymnax` is not installed")
    inner, params = make("gymnax::CartPole-v1")
    env = NormalizeObservation(NoisyObservation(HideVelocity(inner), 0.1), 0.0, 1.0)
    env = PreviousActionReward(FrameStack(DelayedObservation(FlickeringObservation(env, 0.2), 1), 3))
    env = NormalizeReward(ScaleReward(PeriodicObservation(env, 2), 3.0), 9.0)

    def run(env, key):
        def act(state, key):
            observation, state, *outcome, info = env.step(key, state, jax.random.randint(key, (), 0, 2), params)
            return state, (observation, outcome, info["final_observation"])

        return jax.lax.scan(act, env.reset(key, params)[1], jax.random.split(key, 60))[1]

    keys = jax.random.split(jax.random.key(0), 3)
    shown, ours, final = jit(jax.vmap(lambda key: run(env, key)))(keys)
    _, theirs, _ = jit(jax.vmap(lambda key: run(inner, key)))(keys)
    assert_close(ours, theirs)
    assert (ours[1] | ours[2]).sum() > 5
    assert shown.shape == (3, 60, 9) == (3, 60, *env.observation_space().shape)
    for seen in (shown, final):
        assert jax.vmap(jax.vmap(env.observation_space().contains))(seen).all()


def pixels(env):
    return type("Pixels", (Tagged,), {"observation_space": lambda *_: Box(0, 255, (2, 2), jnp.uint8)})()


@pytest.mark.parametrize(
    ("wrap", "error", "message"),
    [
        (lambda e: MaskObservation(e, [3]), ValueError, r"`hide` must name parts of the observation, got 3; there are"),
        (lambda e: MaskObservation(e, [-1]), ValueError, r"`hide` must name parts of the observation, got -1"),
        (lambda e: MaskObservation(e, []), ValueError, r"`hide` must name some parts, but not all, got \[\] of"),
        (lambda e: MaskObservation(e, [0, 1, 2]), ValueError, r"but not all, got \[0, 1, 2\] of \[0, 1, 2\]"),
        (lambda _: MaskObservation(Nested(), "tags"), ValueError, r"got 'tags'; there are \['rest', 'tag'\]"),
        (lambda e: MaskObservation(pixels(e), [0]), TypeError, r"must have observations in a Box \[n\] or a Dict, got"),
        (HideVelocity, ValueError, "`indices` must be given for Tagged; known without: CartPole-v1, Pendulum-v1"),
        (lambda e: NoisyObservation(e, -0.1), ValueError, "`scale` must be at least 0, got -0.1"),
        (lambda e: NoisyObservation(e, np.nan), ValueError, "`scale` must be at least 0, got nan"),
        (
            lambda e: NoisyObservation(e, np.ones(2)),
            ValueError,
            r"`scale` must broadcast to the .* \(3,\), got .* \(2,\)",
        ),
        (lambda e: NoisyObservation(pixels(e), 1), TypeError, "NoisyObservation must have floating-point observations"),
        (lambda e: FlickeringObservation(e, 1.5), ValueError, r"`probability` must be in \[0, 1\], got 1.5"),
        (lambda e: DelayedObservation(e, 0), ValueError, "`steps` must be at least 1, got 0"),
        (lambda e: DelayedObservation(e, 1.5), TypeError, "`steps` must be an integer, got 1.5"),
        (lambda e: PeriodicObservation(e, 0), ValueError, "`period` must be at least 1, got 0"),
        (lambda e: FrameStack(e, True), TypeError, "`frames` must be an integer, got True"),
        (lambda e: ScaleReward(e, 0), ValueError, "`scale` must be above 0, got 0"),
        (lambda e: NormalizeReward(e, -1), ValueError, "`variance` must be at least 0, got -1"),
        (lambda e: NormalizeReward(e, 1, epsilon=0), ValueError, "`epsilon` must be above 0, got 0"),
        (lambda e: NormalizeReward(e, 1, clip=-1), ValueError, "`clip` must be above 0 or None, got -1"),
        (lambda e: NormalizeObservation(e, np.ones(2), 1), ValueError, r"`mean` must broadcast to the .* \(3,\), got"),
        (lambda e: NormalizeObservation(e, np.nan, 1), ValueError, "`mean` must be finite, got nan"),
        (lambda e: NormalizeObservation(e, 0, -1), ValueError, "`variance` must be at least 0, got -1"),
        (lambda e: NormalizeObservation(e, 0, 1, epsilon=0), ValueError, "`epsilon` must be above 0"),
        (lambda e: NormalizeObservation(e, 0, 1, clip=0), ValueError, "`clip` must be above 0 or None, got 0"),
        (lambda e: NormalizeObservation(pixels(e), 0, 1), TypeError, "must have floating-point observations, got Box"),
        (ClipAction, TypeError, r"`env` of ClipAction must have actions in a Box, got Discrete\(4\)"),
    ],
)
def test_a_wrong_argument_is_refused(wrap, error, message):
    with pytest.raises(error, match=message):
        wrap(Tagged())


def test_an_index_has_no_noise():
    index = type("Index", (Tagged,), {"observation_space": lambda *_: Discrete(5)})()
    with pytest.raises(
        TypeError, match=r"must have observations in a Box, or in Dict and Tuple of boxes, got Discrete"
    ):
        NoisyObservation(index, 0.1)
