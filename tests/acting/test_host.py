"""Agents in environments that run in Python."""

import copy
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import jax
import numpy as np
import pytest
from tests import example_agents
from tests.environments.host.toys import GOAL, LIMIT, Breaking, Fenced, JaxWalk, Recall, Shut, Walk

import memorax
from memorax import lox
from memorax.environments import HostEnvironmentError, as_host

KEYS = jax.random.split(jax.random.key(3), 2)
TRAIN = jax.random.split(jax.random.key(4), 2)
NORMALIZED = {"normalize_observations": True, "normalize_rewards": True}
BUILDERS = {
    "ppo": partial(example_agents.ppo, **NORMALIZED),
    "r2d2": partial(example_agents.r2d2, **NORMALIZED),
    "gradient_ppo": example_agents.gradient_ppo,
    "pqn": example_agents.pqn,
    "stream_ac": example_agents.stream_ac,
    "dqn": example_agents.dqn,
    "sac": example_agents.sac,
}
FAST = ("ppo", "r2d2")


def walks() -> Any:
    return as_host(partial(Walk))


@pytest.fixture(scope="module")
def agents() -> Iterator[dict[str, Any]]:
    made = {name: BUILDERS[name](walks()) for name in FAST}
    yield made
    for agent in made.values():
        agent.close()


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in FAST else pytest.mark.slow) for name in BUILDERS]
)
def test_learns_what_compiled_training_learns(agents, name):
    host = agents[name] if name in agents else BUILDERS[name](walks())
    compiled = BUILDERS[name](JaxWalk())
    steps = 3 * host.steps_per_update
    state, wanted = host.init(KEYS), jax.jit(jax.vmap(compiled.init))(KEYS)
    assert_same(state.learner, wanted.learner, exact=True)
    state, logs = lox.spool(host.train)(TRAIN, state, num_steps=steps)
    train = jax.jit(jax.vmap(lambda key, state: lox.spool(compiled.train)(key, state, num_steps=steps)))
    wanted, wanted_logs = train(TRAIN, wanted)
    assert np.asarray(wanted_logs["returned_episode"]).any(), "episodes must end, or nothing is compared"
    without_places = [s.replace(loop=s.loop.replace(env_state=None)) for s in (state, wanted)]
    assert_same(*without_places)
    assert_same(dict(logs), dict(wanted_logs))
    host.close()


def assert_same(got: Any, wanted: Any, exact: bool = False) -> None:
    assert jax.tree.structure(got) == jax.tree.structure(wanted)
    for (path, x), y in zip(jax.tree_util.tree_leaves_with_path(got), jax.tree.leaves(wanted), strict=True):
        assert (x.shape, x.dtype) == (y.shape, y.dtype), path
        tolerance = {"rtol": 0, "atol": 0} if exact else {"rtol": 1e-4, "atol": 1e-5}
        np.testing.assert_allclose(np.asarray(x), np.asarray(y), err_msg=str(path), **tolerance)


def test_splitting_a_run_into_calls_changes_nothing(agents):
    agent = agents["ppo"]
    steps = agent.steps_per_update
    whole = agent.train(TRAIN[0], agent.init(KEYS[0]), 2 * steps)
    halves = agent.train(TRAIN[0], agent.train(TRAIN[0], agent.init(KEYS[0]), steps), steps)
    assert_same(halves, whole, exact=True)


def test_a_seed_alone_learns_what_it_learns_beside_others(agents):
    agent = agents["ppo"]
    steps = agent.steps_per_update
    both = agent.train(TRAIN, agent.init(KEYS), steps)
    alone = agent.train(TRAIN[1], agent.init(KEYS[1]), steps)
    assert_same(alone, jax.tree.map(lambda x: x[1], both))


@pytest.mark.parametrize("groups", [1, 3])
def test_every_transition_follows_from_its_action(groups):
    agent = example_agents.ppo(as_host(partial(Walk), groups=groups), num_envs=6)
    state, trajectory = agent.rollout(TRAIN, agent.init(KEYS), 2 * LIMIT)
    state, more = agent.rollout(TRAIN, state, 2)
    agent.close()
    both = jax.tree.map(lambda *parts: np.concatenate(parts, axis=2), trajectory, more)
    position, time = np.moveaxis(both.observation, -1, 0)
    after = position + np.where(both.action == 1, 1, -1)
    np.testing.assert_allclose(both.reward, np.float32(0.1) * after, rtol=1e-6)
    np.testing.assert_array_equal(both.terminated, after >= GOAL)
    np.testing.assert_array_equal(both.truncated, time + 1 >= LIMIT)
    np.testing.assert_array_equal(position[..., 1:], np.where(both.done, 0, after)[..., :-1])
    np.testing.assert_array_equal(time[..., 1:], np.where(both.done, 0, time + 1)[..., :-1])
    np.testing.assert_array_equal(both.is_first, time == 0)
    assert len({row.tobytes() for row in both.action.reshape(12, -1)}) > 6, "environments must not act alike"
    assert state.step.low.tolist() == [6 * (2 * LIMIT + 2)] * 2


def test_environments_of_seeds_are_seeded_apart_and_alike_when_repeated():
    agent = example_agents.ppo(as_host(partial(Recall)), num_envs=4)
    signs = [np.asarray(agent.init(KEYS).loop.timestep.observation[..., 0]) for _ in range(2)]
    alone = agent.init(KEYS[1]).loop.timestep.observation[..., 0]
    agent.close()
    np.testing.assert_array_equal(*signs)
    np.testing.assert_array_equal(alone, signs[0][1])
    assert (signs[0] != signs[0][:1]).any()


@pytest.mark.parametrize("name", FAST)
def test_a_state_from_elsewhere_goes_on_in_new_episodes(agents, name):
    agent = agents[name]
    state = agent.train(TRAIN, agent.init(KEYS), 4 * agent.steps_per_update)
    agent.train(TRAIN, state, agent.steps_per_update)
    again, trajectory = agent.rollout(TRAIN, state, 1)
    assert np.asarray(trajectory.is_first).all()
    assert (np.asarray(trajectory.observation) == 0).all()
    assert (np.asarray(again.loop.episode.running_length) == 1).all()
    ended = np.asarray(trajectory.done)[..., 0]
    np.testing.assert_array_equal(
        np.asarray(again.loop.episode.last_return)[~ended], np.asarray(state.loop.episode.last_return)[~ended]
    )
    if name == "r2d2":
        # What follows in the replay buffer is of other episodes: the last observation before it is marked as cut.
        cuts = [int(np.asarray(s.buffer.experience.truncated).sum()) for s in (state, again)]
        assert cuts[1] == cuts[0] + 2 * agent.vector_env.num_envs


def test_evaluation_plays_whole_episodes_and_changes_nothing(agents):
    agent = agents["ppo"]
    state = agent.train(TRAIN, agent.init(KEYS), agent.steps_per_update)
    before = jax.tree.map(np.array, state)
    after, logs = lox.spool(agent.evaluate)(TRAIN, state, num_episodes=8)
    assert_same(after, before, exact=True)
    assert {name: x.shape for name, x in logs.items()} == dict.fromkeys(logs, (2, 1, 8))
    assert logs["returned_episode"].all()
    assert (logs["returned_episode_lengths"] <= LIMIT).all()
    _, short = lox.spool(agent.evaluate)(TRAIN[0], jax.tree.map(lambda x: x[0], state), num_steps=2, num_episodes=3)
    assert not short["returned_episode"].any()
    _, steps = lox.spool(agent.evaluate)(TRAIN, state, num_steps=LIMIT + 1)
    assert steps["returned_episode"].shape == (2, LIMIT + 1, 6)
    assert steps["returned_episode"].any(axis=1).all()
    # Training goes on where it was.
    same = agent.train(TRAIN, state, agent.steps_per_update)
    assert not np.asarray(same.loop.timestep.done).all()


def test_an_error_of_an_environment_leaves_what_was_learned():
    agent = example_agents.ppo(as_host(lambda: Breaking(after=2 * 8 + 3), name="Robot"), num_envs=2)
    state = agent.init(KEYS)
    with pytest.raises(
        HostEnvironmentError, match=r"Robot failed in step 19 \(RuntimeError: the robot fell over\)"
    ) as error:
        agent.train(TRAIN, state, 5 * agent.steps_per_update)
    assert error.value.steps == 2 * agent.steps_per_update
    assert error.value.logs["losses/actor"].shape == (2, 2)
    left = error.value.state
    assert np.asarray(left.step).tolist() == [32, 32]
    assert_same(left.learner, agent.train(TRAIN, agent.init(KEYS), 2 * agent.steps_per_update).learner, exact=True)
    agent.close()  # new environments hold for a while
    assert np.asarray(agent.train(TRAIN, left, agent.steps_per_update).step).tolist() == [48, 48]
    agent.close()


def test_transformations_are_refused_with_a_sentence(agents):
    agent = agents["ppo"]
    with pytest.raises(TypeError, match=r"must not be called inside `jax\.jit`, `jax\.vmap`"):
        jax.vmap(agent.init)(KEYS)
    with pytest.raises(ValueError, match="`num_steps` must be at least one update"):
        agent.train(TRAIN, agent.init(KEYS), 1)
    with pytest.raises(ValueError, match="needs `num_steps` or `num_episodes`"):
        agent.evaluate(TRAIN, agent.init(KEYS))


def test_any_gymnasium_environment_can_be_given_to_an_algorithm():
    one = gymnasium.make("CartPole-v1", max_episode_steps=9)
    for env, num_envs in (
        (one, 3),
        (lambda: gymnasium.make("CartPole-v1"), 2),
        (gymnasium.make_vec("CartPole-v1", 4, vectorization_mode="sync"), 4),
    ):
        space = as_host(env)
        agent = example_agents.ppo(space, num_envs=num_envs, num_minibatches=1)
        agent = type(agent)(agent.config, env, None, *networks(agent))
        state = agent.train(TRAIN[0], agent.init(KEYS[0]), agent.steps_per_update)
        assert int(state.step) == 8 * num_envs
        agent.close()


def networks(agent: Any) -> tuple:
    return agent.networks.actor.network, agent.networks.critic.network, *agent.optimizers.values()


def test_copies_of_an_agent_have_environments_of_their_own(agents):
    agent = agents["ppo"]
    shallow = copy.copy(agent)
    assert (shallow.host is agent.host, shallow.host.agent is shallow) == (False, True)
    other = copy.deepcopy(agent)
    steps = agent.steps_per_update
    mine, other_state = agent.init(KEYS[0]), other.init(KEYS[0])
    mine = agent.train(TRAIN[0], mine, steps)
    assert_same(other.train(TRAIN[0], other_state, steps), mine, exact=True)
    assert other.host is not agent.host
    assert other.host.agent is other
    other.close()


@pytest.mark.parametrize("groups", [1, 2])
def test_masks_reach_the_policy(groups):
    agent = example_agents.ppo(as_host(partial(Fenced), groups=groups), num_envs=4)
    _, trajectory = agent.rollout(TRAIN[0], agent.init(KEYS[0]), 30)
    mask, action = (np.asarray(x) for x in (trajectory.observation["action_mask"], trajectory.action))
    position = np.asarray(trajectory.observation["observation"])[..., 0]
    np.testing.assert_array_equal(mask, np.stack([position > 0, np.ones_like(position, bool)], axis=-1))
    assert np.take_along_axis(mask, action[..., None], -1).all()
    assert not mask.all()
    agent.close()


def test_a_mask_that_allows_nothing_is_an_error():
    agent = example_agents.ppo(as_host(partial(Shut)), num_envs=2)
    with pytest.raises(HostEnvironmentError, match="`action_mask` of Shut must allow an action"):
        agent.rollout(TRAIN[0], agent.init(KEYS[0]), 4)


def test_no_callback_that_may_be_dropped_or_repeated_is_used():
    """XLA takes a `pure_callback` for a function without effects."""
    sources = list(Path(memorax.__file__).parent.rglob("*.py"))
    assert len(sources) > 200
    assert [path.name for path in sources if "pure_callback" in path.read_text()] == []
