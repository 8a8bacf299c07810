"""Environments with several agents: the embedded tasks, and what is promised of any."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.conformance import environments as conformance

from memorax.core.spaces import Box, Dict, Discrete, MultiDiscrete, Tuple
from memorax.environments import ENVIRONMENTS, make
from memorax.environments.multi_agent import TASKS, MultiAgentEnvironment, PartnerRecall, RollCall, stack_space

NAMES = [name for name in ENVIRONMENTS if name.startswith("multi_agent::")]


def keeps_its_types(world):
    env, params, key = world.env, world.params, jax.random.key(0)
    started = jax.eval_shape(lambda: env.reset(key, params))
    action = env.action_space(params).sample(key)
    observation, state, reward, *ends, info = jax.eval_shape(lambda s: env.step(key, s, action, params), started[1])
    avals = conformance.avals
    assert avals((observation, state)) == avals(started)
    assert avals(info["final_observation"]) == avals(observation)
    assert not any(leaf.weak_type for leaf in jax.tree.leaves(started))
    assert avals(reward) == ((env.num_agents,), "float32", False)
    assert [avals(end) for end in ends] == [((env.num_agents,), "bool", False)] * 2


def begins_again_once_all_are_out(world):
    env, params, log = world.env, world.params, conformance.flat(world.log)
    step_key, reset_key = conformance.jit(lambda keys: tuple(jax.vmap(jax.random.split)(keys).T))(log["key"])
    raw = conformance.jit(jax.vmap(env.step_env, (0, 0, 0, None)))(step_key, log["state"], log["action"], params)
    over = np.asarray((log["terminated"] | log["truncated"]).all(axis=1))
    assert over.any()
    assert not over.all()
    conformance.assert_close(raw[0], log["final"])
    fresh = conformance.jit(jax.vmap(env.reset_env, (0, None)))(reset_key, params)
    for ended, expected in ((True, fresh), (False, raw[:2])):
        rows = over == ended
        got = log["after"], log["next_state"]
        conformance.assert_close(*(jax.tree.map(lambda x, r=rows: x[r], tree) for tree in (expected, got)))


def keeps_flags_up(world):
    flags = np.asarray(world.log["terminated"] | world.log["truncated"])
    over = flags.all(axis=2)[:, :-1, None]
    assert (flags[:, 1:] >= (flags[:, :-1] & ~over)).all()


def ends_by_its_horizon(world):
    over = np.asarray((world.log["terminated"] | world.log["truncated"]).all(axis=2))
    for row in over:
        assert np.diff(np.flatnonzero(row), prepend=-1).max() == world.env.horizon(world.params)


SINGLE = (conformance.stays_in_its_spaces, conformance.is_repeatable, conformance.batches_like_one)
JOINT = (keeps_its_types, begins_again_once_all_are_out, keeps_flags_up, ends_by_its_horizon)


@pytest.fixture(scope="module", params=NAMES)
def world(request):
    return conformance.visit(*make(request.param))


@pytest.mark.parametrize("holds", [*SINGLE, *JOINT, conformance.tells_its_facts], ids=lambda p: p.__name__)
def test_property(world, holds):
    holds(world)


class ResetsWithTheFirst(RollCall):
    """Mutant: begins again when one agent is out."""

    def step(self, key, state, action, params=None):
        observation, state, reward, terminated, truncated, info = super().step(key, state, action, params)
        fresh = self.reset(jax.random.split(key)[1], params)
        observation, state = jax.tree.map(lambda x, y: jnp.where(terminated.any(), x, y), fresh, (observation, state))
        return observation, state, reward, terminated, truncated, info


class LowersItsFlags(RollCall):
    """Mutant: an agent's flag is up at its end only."""

    def step_env(self, key, state, action, params):
        observation, after, reward, _, info = super().step_env(key, state, action, params)
        last = state.time + 1 >= self.horizon(params)
        return observation, after, reward, (state.time == params.delay + state.turn) | last, info


@pytest.mark.parametrize(
    ("broken", "rejects"),
    [(ResetsWithTheFirst, begins_again_once_all_are_out), (LowersItsFlags, keeps_flags_up)],
)
def test_a_broken_environment_is_rejected(broken, rejects):
    world = conformance.visit(broken(delay=1), broken(delay=1).default_params, steps=9)
    with pytest.raises(AssertionError):
        rejects(world)


def play(env, policy, steps):
    """Mean return over the agents of `policy(t, observations so far)` from the start of an episode, in 200 episodes."""

    def episode(key):
        observation, state = env.reset(key)
        seen, total = [observation], 0.0
        for t in range(steps):
            observation, state, reward, terminated, _, _ = env.step(key, state, policy(t, seen))
            seen.append(observation)
            total += reward.mean()
        return total, terminated.all()

    returns, over = conformance.jit(jax.vmap(episode))(jax.random.split(jax.random.key(0), 200))
    assert over.all()
    return returns


def test_only_who_remembers_the_neighbor_gets_all():
    env = PartnerRecall(delay=2, num_agents=3, num_symbols=4)
    own = lambda seen: seen[0][:, :4].argmax(axis=-1)  # noqa: E731

    def remembers(t, seen):
        return own(seen) if t == 0 else seen[min(t, 1)][:, 4:8].argmax(axis=-1)

    def guesses(t, seen):
        return own(seen) if t == 0 else jnp.zeros(3, jnp.int32)

    def agrees(t, seen):
        return jnp.full(3, 2)

    np.testing.assert_allclose(play(env, remembers, 4), env.optimal_return, atol=1e-6)
    for policy in (guesses, agrees):
        np.testing.assert_allclose(play(env, policy, 4).mean(), env.memoryless_return, atol=0.1)
    assert env.horizon() == 4


def test_the_neighbor_is_seen_once():
    env = PartnerRecall(delay=2, num_agents=3)
    _, state = env.reset(jax.random.key(0))
    seen = []
    for action in ([0, 1, 1], [1, 1, 1], [1, 1, 1]):
        observation, state, *_ = env.step(jax.random.key(0), state, jnp.array(action))
        seen.append(observation)
    np.testing.assert_array_equal(seen[0][:, 2:], [[0, 1, 0], [1, 0, 0], [0, 1, 0]])
    np.testing.assert_array_equal(seen[1], np.zeros((3, 5)))
    np.testing.assert_array_equal(seen[2], np.eye(5)[[4, 4, 4]])


def test_who_is_called_is_paid_and_leaves():
    env = RollCall(delay=1, num_agents=3)
    step = conformance.jit(env.step)
    own = lambda t, seen: seen[0][:, :2].argmax(axis=-1)  # noqa: E731
    np.testing.assert_allclose(play(env, own, 4), env.optimal_return, atol=1e-6)
    wrong = lambda t, seen: 1 - own(t, seen)  # noqa: E731
    np.testing.assert_allclose(play(env, wrong, 4), -1.0, atol=1e-6)
    observation, state = env.reset(jax.random.key(1))
    out = []
    for _ in range(4):
        called = observation[:, 2]
        observation, state, reward, terminated, *_ = step(jax.random.key(0), state, jnp.zeros(3, jnp.int32))
        np.testing.assert_array_equal(reward != 0, called == 1)
        out.append(int(terminated.sum()))
    assert out == [0, 1, 2, 3]


def test_spaces_side_by_side():
    assert stack_space(Discrete(3), 2) == MultiDiscrete([3, 3])
    assert stack_space(Box(np.zeros(2), np.ones(2)), 3) == Box(0.0, 1.0, (3, 2))
    both = Dict({"a": Discrete(2), "b": Tuple([Box(-1.0, 1.0, ())])})
    assert stack_space(both, 2) == Dict({"a": MultiDiscrete([2, 2]), "b": Tuple([Box(-1.0, 1.0, (2,))])})
    with pytest.raises(TypeError, match=r"`space` of an agent must be made of Discrete and Box, got MultiDiscrete"):
        stack_space(MultiDiscrete([2, 3]), 2)


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
@pytest.mark.parametrize(
    ("argument", "value", "error", "message"),
    [
        ("delay", 0, ValueError, "`delay` must be at least 1, got 0"),
        ("num_agents", 1, ValueError, "`num_agents` must be at least 2, got 1"),
        ("num_symbols", 1, ValueError, "`num_symbols` must be at least 2, got 1"),
        ("delay", 1.5, TypeError, "`delay` must be an integer, got 1.5"),
    ],
)
def test_bad_arguments_are_refused(task, argument, value, error, message):
    with pytest.raises(error, match=message):
        task(**{argument: value})


def test_they_are_registered():
    assert [f"multi_agent::{name}" for name in sorted(TASKS)] == NAMES
    env, params = make("multi_agent::RollCall", num_agents=5)
    assert isinstance(env, MultiAgentEnvironment)
    assert env.action_space(params) == MultiDiscrete([2] * 5)
