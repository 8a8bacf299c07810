"""Environments with several agents: the embedded tasks, and what is promised of any."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.fast_compile import jit

from memorax.core.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple
from memorax.environments import ENVIRONMENTS, make
from memorax.environments.multi_agent import TASKS, MultiAgentEnvironment, PartnerRecall, RollCall, stack_space
from memorax.testing import environments as conformance

NAMES = [name for name in ENVIRONMENTS if name.startswith("multi_agent::")]


PROPERTIES = (*conformance.PROPERTIES, *conformance.MULTI_AGENT_PROPERTIES, conformance.documents_its_rules)


@pytest.fixture(scope="module", params=NAMES)
def visited(request):
    return conformance.visit(*make(request.param))


@pytest.mark.parametrize("holds", PROPERTIES, ids=lambda p: p.__name__)
def test_property(visited, holds):
    holds(visited)


def test_episodes_end_at_the_horizon_and_not_before(visited):
    over = np.asarray((visited.log["terminated"] | visited.log["truncated"]).all(axis=2))
    for row in over:
        assert np.diff(np.flatnonzero(row), prepend=-1).max() == visited.env.horizon(visited.params)


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
    [
        (ResetsWithTheFirst, conformance.resets_once_all_agents_are_done),
        (LowersItsFlags, conformance.keeps_the_flags_of_done_agents),
    ],
)
def test_a_broken_environment_is_rejected(broken, rejects):
    visited = conformance.visit(broken(delay=1), broken(delay=1).default_params, steps=9)
    with pytest.raises(AssertionError, match=r"^RollCall: |^ResetsWithTheFirst: |^LowersItsFlags: "):
        rejects(visited)


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

    returns, over = jit(jax.vmap(episode))(jax.random.split(jax.random.key(0), 200))
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
    step = jit(env.step)
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
    assert stack_space(MultiDiscrete([2, 3], np.int8), 2) == MultiDiscrete([[2, 3], [2, 3]], np.int8)
    assert stack_space(MultiBinary(3), 2) == MultiBinary((2, 3))
    with pytest.raises(TypeError, match=r"`space` of an agent must be one of `memorax.core.spaces`, got 3"):
        stack_space(3, 2)


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
