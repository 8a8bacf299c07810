"""MAPPO is PPO for each agent; agents that are out learn nothing; and what breaks that is noticed."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tests import example_agents as agents
from tests.assertions import assert_equal
from tests.copied_tasks import Copies, Copy, CutRecall, member

from memorax import lox
from memorax.algorithms import ALGORITHMS, MAPPO, PPO, MAPPOConfig, PPOConfig
from memorax.algorithms.mappo import Member
from memorax.core.spaces import Box, Dict, Discrete
from memorax.environments.multi_agent import PartnerRecall, RollCall
from memorax.experiment import build_agent, default_run
from memorax.learning.centralized_critic import joint_observation
from memorax.networks import Network, heads
from memorax.testing import algorithm_properties as replay
from memorax.testing.algorithm_properties import (
    PROPERTIES,
    is_not_disturbed_by_evaluation,
    keeps_its_types,
    logs_episodes_and_losses,
    stays_finite,
)
from memorax.testing.probe_environments import Clock

ONCE = {"update_epochs": 1, "num_minibatches": 1}
BOTH = {"share_parameters": True, "centralized_critic": True}


def assert_close(a, b, tolerance=1e-5):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=10 * tolerance, atol=tolerance), a, b)


def agent_of(tree, i, axis=0):
    return jax.tree.map(lambda x: jnp.take(x, i, axis=axis), tree)


@pytest.fixture(scope="module")
def agent():
    return agents.mappo(RollCall(delay=1), "mlp")


QUICK = (keeps_its_types, logs_episodes_and_losses, is_not_disturbed_by_evaluation)
"""The others take a program each, and are for the slow run."""


@pytest.mark.parametrize(
    "holds",
    [pytest.param(p, marks=[] if p in QUICK else [pytest.mark.slow]) for p in PROPERTIES],
    ids=lambda f: f.__name__,
)
def test_property(agent, holds):
    holds(agent)


@pytest.mark.slow
@pytest.mark.parametrize("flags", [{}, {"share_parameters": True}, {"centralized_critic": True}, BOTH], ids=str)
def test_every_property_holds_with_every_flag(flags):
    agent = agents.mappo(RollCall(delay=1), "gru", **flags)
    for holds in PROPERTIES:
        holds(agent)


def equals_ppo(cls, which):
    """Agents on copies of a task learn what PPO learns on each of the copies with the same keys."""
    number, task, key = 2, CutRecall(2), jax.random.key(1)
    together = agents.mappo(Copies(task, number), cls=cls)
    steps = 2 * together.steps_per_update
    state = together.train(key, together.init(key), steps)
    for i in which:
        alone = agents.ppo(Copy(task, i, number), cls=member(PPO, i, number))
        own = alone.train(key, alone.init(key), steps)
        assert own.loop.timestep.done.shape == (alone.config.num_envs,)
        assert_close(agent_of(state.learner, i), own.learner)
        assert_close(agent_of((state.loop.timestep, state.loop.carry), i, axis=1), (own.loop.timestep, own.loop.carry))


def test_independent_agents_on_copies_of_a_task_are_ppo_on_each_of_them():
    equals_ppo(MAPPO, [1])


@pytest.mark.slow
def test_the_first_agent_too_is_ppo():
    equals_ppo(MAPPO, [0])


class SharesAdvantages(MAPPO):
    """Mutant: pays every agent what all of them got on average."""

    def learn(self, key, learner, trajectory, rollout_state, carry):
        mean = jnp.broadcast_to(trajectory.reward.mean(-1, keepdims=True), trajectory.reward.shape)
        return super().learn(key, learner, dataclasses.replace(trajectory, reward=mean), rollout_state, carry)


@pytest.mark.slow
def test_mixed_rewards_are_noticed():
    with pytest.raises(AssertionError):
        equals_ppo(SharesAdvantages, [1])


@pytest.mark.slow
def test_shared_parameters_on_copies_of_a_task_are_ppo_with_more_environments():
    # Without randomness, so that it does not matter which environment is whose.
    task, number, key = Clock("truncated", 3, 3), 2, jax.random.key(1)
    together = agents.mappo(Copies(task, number), share_parameters=True, num_envs=4)
    alone = agents.ppo(task, num_envs=4 * number)
    # One update: keys follow from the steps of the environments, of which there are not equally many.
    state = together.train(key, together.init(key), together.steps_per_update)
    own = alone.train(key, alone.init(key), alone.steps_per_update)
    assert_close(state.learner, own.learner)


@functools.cache
def scene():
    """A rollout in which agents are out before others, and what there was before and after it."""
    agent, key = agents.mappo(RollCall(delay=1), **ONCE), jax.random.key(2)
    state = agent.init(key)
    after, steps = agent.rollout(key, state, agent.config.num_steps)
    done = steps.inputs.done
    out = done & ~done.all(axis=2, keepdims=True)
    assert out.any(axis=(0, 1)).all()
    assert not out.all(axis=2).any()
    return state, after, dataclasses.replace(steps, info={}), out


@functools.cache
def learning(cls):
    return jax.jit(agents.mappo(RollCall(delay=1), cls=cls, **ONCE).learn)


def disturbs_nobody_when_out(cls):
    (state, after, steps, out), key = scene(), jax.random.key(3)
    expected = learning(cls)(key, state.learner, steps, after.loop, state.loop.carry)

    def disturbed(where):
        aux = {name: jnp.where(where, -2.0, x) for name, x in steps.aux.items() if name != "bootstrap"}
        changed = dataclasses.replace(steps, reward=jnp.where(where, 7.0, steps.reward), aux=steps.aux | aux)
        return learning(cls)(key, state.learner, changed, after.loop, state.loop.carry)

    assert_equal(disturbed(out), expected)
    last_active = ~out & steps.terminated
    assert not np.array_equal(*(jax.tree.leaves(x.actor.params)[0] for x in (disturbed(last_active), expected)))


def test_what_an_agent_does_when_it_is_out_is_not_learned_from():
    disturbs_nobody_when_out(MAPPO)


class LearnsFromTheDead(MAPPO):
    """Mutant: takes every step for one that counts."""

    def learn(self, key, learner, trajectory, rollout_state, carry):
        self.member.batch = super(Member, self.member).batch
        return super().learn(key, learner, trajectory, rollout_state, carry)


def test_learning_from_agents_that_are_out_is_noticed():
    with pytest.raises(AssertionError):
        disturbs_nobody_when_out(LearnsFromTheDead)


def test_an_agent_that_was_out_all_the_time_stays_as_it_is():
    state, after, steps, _ = scene()
    done = jnp.zeros_like(steps.inputs.done).at[..., 1].set(True)
    steps = dataclasses.replace(steps, inputs=dataclasses.replace(steps.inputs, done=done))
    learner = learning(MAPPO)(jax.random.key(3), state.learner, steps, after.loop, state.loop.carry)
    moved = jax.tree.map(lambda x, y: (x != y).any(axis=tuple(range(1, x.ndim))), learner.params, state.learner.params)
    np.testing.assert_array_equal(np.any(jax.tree.leaves(moved), axis=0), [True, False, True])


def permutes(cls):
    state, after, steps, _ = scene()
    order, key = jnp.array([2, 0, 1]), jax.random.key(3)

    def learn(learner, steps, timestep, last, carry):
        own = dataclasses.replace(after.loop, timestep=timestep, carry=last)
        return learning(cls)(key, learner, steps, own, carry)

    data = state.learner, steps, after.loop.timestep, after.loop.carry, state.loop.carry
    moved = (agent_of(tree, order, axis) for tree, axis in zip(data, (0, 2, 1, 1, 1), strict=True))
    # Adam's first step tells little but signs; its moments hold the gradients.
    assert_close(learn(*moved), agent_of(learn(*data), order))


def test_agents_in_another_order_are_the_same_agents():
    permutes(MAPPO)


class ForgetsWhoIsWho(MAPPO):
    """Mutant: the first agent is paid less than the others."""

    def learn(self, key, learner, trajectory, rollout_state, carry):
        paid = dataclasses.replace(trajectory, reward=trajectory.reward.at[..., 0].multiply(0.5))
        return super().learn(key, learner, paid, rollout_state, carry)


def test_a_preference_for_an_agent_is_noticed():
    with pytest.raises(AssertionError):
        permutes(ForgetsWhoIsWho)


@pytest.mark.parametrize("flags", [pytest.param(BOTH, marks=pytest.mark.slow), {}], ids=str)
def test_the_first_ratio_is_one(flags):
    # Episodes of four steps, so that the sequence begins in the middle of one.
    replay.begins_with_a_ratio_of_one(agents.mappo(RollCall(delay=1), **flags, **ONCE))


class StoresTheCarryAfter(MAPPO):
    """Mutant: replays the rollout from the memory behind it."""

    def learn(self, key, learner, trajectory, rollout_state, carry):
        return super().learn(key, learner, trajectory, rollout_state, rollout_state.carry)


@pytest.mark.slow
def test_a_carry_stored_after_the_step_is_noticed():
    with pytest.raises(AssertionError):
        replay.begins_with_a_ratio_of_one(agents.mappo(RollCall(delay=1), cls=StoresTheCarryAfter, **ONCE))


def test_a_central_critic_sees_what_others_see_and_the_actor_does_not():
    agent = agents.mappo(PartnerRecall(), "mlp", centralized_critic=True)
    key = jax.random.key(0)
    state = agent.init(key)
    timestep = state.loop.timestep
    other = dataclasses.replace(timestep, observation=timestep.observation.at[:, 1].add(1.0))

    @jax.jit
    def think(timestep):
        _, _, aux = agent.policy(state.learner, state.step, "explore")(key, state.loop.carry, timestep)
        return aux["value"][:, 0], aux["log_prob"][:, 0]

    (value, log_prob), (other_value, other_log_prob) = think(timestep), think(other)
    assert (value != other_value).all()
    assert_equal(log_prob, other_log_prob)


def test_all_observations_are_seen_from_ones_own_place():
    space = Dict({"card": Discrete(3), "hand": Box(0.0, 1.0, (2,)), "action_mask": Box(0, 1, (4,), jnp.int32)})
    observation = {"card": jnp.array([2, 0]), "hand": jnp.arange(4.0).reshape(2, 2), "action_mask": jnp.eye(2, 4)}
    seen = joint_observation(space, observation, axis=0)
    first, second = [0, 0, 1, 0, 1], [1, 0, 0, 2, 3]
    np.testing.assert_array_equal(seen["all"], [first + second, second + first])
    assert set(seen["own"]) == {"card", "hand"}
    assert_equal(seen["action_mask"], observation["action_mask"])


def test_logs_are_means_over_the_agents(agent):
    key = jax.random.key(0)
    (_, steps), logs = lox.spool(agent.rollout)(key, agent.init(key), 5)
    # The first episode takes four steps.
    expected = steps.reward[:, :4].sum(axis=1).mean(axis=1)
    np.testing.assert_allclose(logs["returned_episode_returns"][3], expected, rtol=1e-6)
    np.testing.assert_array_equal(logs["returned_episode"].sum(axis=0), np.ones(6))
    np.testing.assert_array_equal(logs["returned_episode_lengths"][-1], np.full(6, 4))


@pytest.mark.slow
@pytest.mark.parametrize("flags", [{}, {"share_parameters": True}, {"centralized_critic": True}, BOTH], ids=str)
def test_numbers_stay_finite_however_episodes_end(flags):
    for ends in ("terminated", "truncated", "both", "never"):
        stays_finite(lambda env: agents.mappo(env, target_kl=0.01, **flags), Copies(Clock(ends, 2, 2), 2))


@pytest.mark.slow
@pytest.mark.parametrize("flags", [{}, BOTH], ids=str)
def test_observations_and_rewards_are_normalized_for_each_agent(flags):
    agent = agents.mappo(RollCall(delay=1), normalize_observations=True, normalize_rewards=True, **flags, **ONCE)
    replay.begins_with_a_ratio_of_one(agent)
    key = jax.random.key(0)
    state = agent.train(key, agent.init(key), 2 * agent.steps_per_update)
    assert state.scales.observations.mean[0].shape == (3, 3)
    assert state.scales.returns.deviation().shape == (3,)


def test_mappo_is_registered_and_has_a_default_job():
    assert ALGORITHMS.get("mappo") == (MAPPO, MAPPOConfig)
    run = dataclasses.replace(default_run("mappo"), features=7)
    agent = build_agent(run)
    assert agent.recurrent
    assert agent.member.networks.shared
    central = dataclasses.replace(run.hyperparameters, centralized_critic=True)
    assert not build_agent(dataclasses.replace(run, hyperparameters=central)).member.networks.shared


def test_one_agent_is_refused():
    message = "`env` must have several agents, got Clock without `num_agents`; take a MultiAgentEnvironment"
    with pytest.raises(TypeError, match=message):
        MAPPO(MAPPOConfig(), Clock(), None, *agents_of_ppo(), optax.sgd(0.1), optax.sgd(0.1))
    with pytest.raises(TypeError, match="`env` must have several agents, got RepeatPrevious"):
        build_agent(dataclasses.replace(default_run("mappo"), env="memory::RepeatPreviousEasy"))


def test_ppo_refuses_several_agents():
    with pytest.raises(TypeError, match=r"`Categorical` needs a Discrete action space, got MultiDiscrete\(\[2, 2\]\)"):
        PPO(PPOConfig(), PartnerRecall(), None, *agents_of_ppo(), optax.sgd(0.1), optax.sgd(0.1))


def agents_of_ppo():
    trunk = agents.extractor(), agents.TORSOS["mlp"]()
    return Network(*trunk, heads.Categorical(action_dim=2)), Network(*trunk, heads.VNetwork())


def test_a_central_critic_needs_a_trunk_of_its_own():
    config = MAPPOConfig(centralized_critic=True)
    with pytest.raises(ValueError, match="`critic` must have a trunk of its own with `centralized_critic`, got the"):
        MAPPO(config, PartnerRecall(), None, *agents_of_ppo(), optax.sgd(0.1), optax.sgd(0.1))


def test_what_does_not_fit_is_refused_as_by_ppo():
    with pytest.raises(
        ValueError, match=r"`num_minibatches` \(4\) must divide `num_envs` \(6\) for recurrent networks"
    ):
        agents.mappo(PartnerRecall(), num_minibatches=4)
    with pytest.raises(TypeError, match="`actor` must be a Network, got 'actor'"):
        MAPPO(MAPPOConfig(**BOTH), PartnerRecall(), None, "actor", "critic", optax.sgd(0.1), optax.sgd(0.1))
    with pytest.raises(ValueError, match="`num_envs` must be at least 1"):
        MAPPOConfig(num_envs=0)
