import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tests import example_agents as agents

from memorax import lox
from memorax.acting import State
from memorax.algorithms import ALGORITHMS, PQN, PQNConfig
from memorax.core.spaces import Box
from memorax.core.types import Timestep, Transition
from memorax.experiment import build_agent
from memorax.experiment.recipes import default_run
from memorax.learning import add_time, remove_time
from memorax.networks import MLP, RNN, Network, heads
from memorax.testing.algorithm_properties import (
    PROPERTIES,
    compiles_once,
    evaluates_whole_episodes,
    maps_over_seeds,
    stays_finite,
)
from memorax.testing.probe_environments import Clock, Masked, MixedEnds, Recall
from memorax.testing.q_learning_properties import CountingCell, CountingHead, knows_that_a_truncated_episode_goes_on

SLOW = pytest.mark.slow
LONG = (maps_over_seeds, compiles_once, evaluates_whole_episodes)
ONCE = {"update_epochs": 1, "num_minibatches": 1}
ENDLESS = {"gamma": 0.5, "td_lambda": 0.5, "num_minibatches": 1, "learning_rate": 0.02, "epsilon_steps": 1}


@pytest.fixture(scope="module")
def agent():
    return agents.pqn(Clock("terminated"), "simple")


@pytest.mark.parametrize(
    "holds", [pytest.param(f, marks=SLOW if f in LONG else ()) for f in PROPERTIES], ids=lambda f: f.__name__
)
def test_property(agent, holds):
    holds(agent)


def test_numbers_stay_finite_however_episodes_end():
    env = Clock("truncated", min_length=1, max_length=2)
    stays_finite(lambda env: agents.pqn(env, "mlp", burn_in_length=5, refresh_targets=True), env)


def peng(reward, terminated, truncated, bootstrap, values, gamma, lam):
    """Q(lambda) by its definition: the mean of all n-step returns of the episode, weighted geometrically."""
    rows, steps = reward.shape
    targets = np.zeros((rows, steps))
    for row, t in np.ndindex(rows, steps):
        returns, total, factor = [], 0.0, 1.0
        for u in range(t, steps):
            total += factor * reward[row, u]
            factor *= gamma
            if terminated[row, u] or truncated[row, u]:
                returns.append(total + factor * (0.0 if terminated[row, u] else bootstrap[row, u]))
                break
            returns.append(total + factor * values[row, u + 1])
        weights = [(1 - lam) * lam**n for n in range(len(returns) - 1)] + [lam ** (len(returns) - 1)]
        targets[row, t] = np.dot(weights, returns)
    return targets


@dataclasses.dataclass
class Recorded:
    """A rollout that begins in the middle of episodes, what led to it, and what step-by-step acting thinks of it."""

    agent: PQN
    before: State
    steps: Transition
    after: State
    moved: Any
    targets: np.ndarray
    values: np.ndarray
    moved_targets: np.ndarray
    moved_values: np.ndarray


def step_by_step(agent, params, steps, carry, last):
    """Values of all actions at `x_0 .. x_T`, and those of final observations, from one step after the other."""
    time_major = jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), steps.replace(info={}, aux={}))

    def step(carry, now):
        carry, output = agent.networks.unroll(params, add_time(now.inputs), carry)
        # The observation of the probe is the time, so the final one is one more than the last.
        final = Timestep(now.observation + 1.0, now.action, now.reward, jnp.zeros_like(now.done))
        _, end = agent.networks.unroll(params, add_time(final), carry)
        return carry, (remove_time(output), remove_time(end).max(-1))

    carry, (values, finals) = jax.lax.scan(step, carry, time_major)
    _, output = agent.networks.unroll(params, add_time(last), carry)
    return jnp.swapaxes(jnp.concatenate([values, output[None, :, 0]]), 0, 1), finals.T


@pytest.fixture(scope="module", params=["gru", "mlp"])
def recorded(request):
    agent = agents.pqn(MixedEnds(), request.param, td_lambda=0.7, gamma=0.9, **ONCE)

    @jax.jit
    def record(key):
        before, _ = agent.rollout(key, agent.init(key), 5)
        after, steps = agent.rollout(key, before, agent.config.num_steps)
        params = before.learner.params
        moved = jax.tree.map(lambda x: x + 0.3 * jnp.cos(7.0 * jnp.arange(x.size)).reshape(x.shape), params)
        both = [step_by_step(agent, p, steps, before.loop.carry, after.loop.timestep) for p in (params, moved)]
        return before, steps, after, moved, both

    before, steps, after, moved, ((values, finals), (moved_values, _)) = record(jax.random.key(3))
    assert not before.loop.timestep.done.all()
    assert (steps.truncated & ~steps.terminated).any()
    assert steps.terminated.any()
    np.testing.assert_allclose(values[:, :-1], steps.aux["q"], atol=1e-5)
    flags = [np.asarray(x) for x in (steps.reward, steps.terminated, steps.truncated, finals)]
    targets, moved_targets = (peng(*flags, np.asarray(x).max(-1), 0.9, 0.7) for x in (values, moved_values))
    return Recorded(agent, before, steps, after, moved, targets, values, moved_targets, moved_values)


def with_options(recorded, cls=PQN, **config):
    config = dataclasses.replace(recorded.agent.config, **config)
    return cls(config, MixedEnds(), None, recorded.agent.networks.network, recorded.agent.optimizer)


def assert_learned_from(metrics, values, target, action):
    chosen = np.take_along_axis(np.asarray(values)[:, :-1], np.asarray(action)[..., None], -1)[..., 0]
    np.testing.assert_allclose(metrics["q_value"], chosen.mean(), atol=1e-5)
    np.testing.assert_allclose(metrics["td_error"], np.abs(target - chosen).mean(), rtol=1e-4)
    np.testing.assert_allclose(metrics["q"], 0.5 * np.square(target - chosen).mean(), rtol=1e-4)


def learns_as_defined(agent, recorded):
    """The first gradient step sees the values of acting, and targets by the definition. The agent takes one."""
    before, after = recorded.before, recorded.after
    learn = lox.spool(jax.jit(agent.learn))
    _, logs = learn(jax.random.key(1), before.learner, recorded.steps, after.loop, before.loop.carry)
    metrics = {name.removeprefix("losses/"): x[0] for name, x in logs.items()}
    assert_learned_from(metrics, recorded.values, recorded.targets, recorded.steps.action)


@pytest.mark.parametrize("refresh", [False, True])
def test_the_first_step_learns_what_peng_defines(recorded, refresh):
    learns_as_defined(with_options(recorded, refresh_targets=refresh), recorded)


class StoresTheCarryAfter(PQN):
    """Mutant: learns from the memory behind the rollout."""

    def learn(self, key, learner, trajectory, rollout_state, carry):
        return super().learn(key, learner, trajectory, rollout_state, rollout_state.carry)


class OffByOne(PQN):
    """Mutant: bootstraps from the value of the step itself."""

    def batch(self, learner, trajectory, rollout_state):
        q = trajectory.aux["q"]
        late = jnp.concatenate([q[:, :1], q[:, :-1]], axis=1)
        return super().batch(learner, trajectory.replace(aux=trajectory.aux | {"q": late}), rollout_state)


class TruncationEndsAll(PQN):
    """Mutant: takes truncation for termination."""

    def batch(self, learner, trajectory, rollout_state):
        return super().batch(learner, trajectory.replace(terminated=trajectory.done), rollout_state)


class FreshMemory(PQN):
    """Mutant: values what follows the rollout without the memory of it."""

    def batch(self, learner, trajectory, rollout_state):
        return super().batch(
            learner, trajectory, dataclasses.replace(rollout_state, carry=jnp.zeros_like(rollout_state.carry))
        )


@pytest.mark.parametrize("mutant", [StoresTheCarryAfter, OffByOne, TruncationEndsAll, FreshMemory])
@pytest.mark.parametrize("recorded", ["gru"], indirect=True)
def test_a_wrong_target_is_noticed(recorded, mutant):
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        learns_as_defined(with_options(recorded, mutant), recorded)


@pytest.mark.parametrize("refresh", [False, True])
def test_targets_are_refreshed_on_request_only(recorded, refresh):
    agent, before = with_options(recorded, refresh_targets=refresh), recorded.before

    @jax.jit
    def loss(moved):
        batch = agent.batch(before.learner, recorded.steps, recorded.after.loop)
        return agent.loss(moved, agent.split(batch), before.loop.carry)

    _, metrics = loss(recorded.moved)
    targets, action = (recorded.targets, recorded.moved_targets), recorded.steps.action
    assert_learned_from(metrics, recorded.moved_values, targets[refresh], action)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        assert_learned_from(metrics, recorded.moved_values, targets[not refresh], action)


def test_targets_have_no_gradient():
    # A counter whose value at every step is one parameter: of Q(x_t) it has a gradient, of the target none.
    options = {"refresh_targets": True, "gamma": 1.0}
    agent = agents.pqn(Clock("never"), lambda: RNN(cell=CountingCell()), head=CountingHead(), **options)

    @jax.jit
    def gradient_and_metrics(key):
        before = agent.init(key)
        after, steps = agent.rollout(key, before, 8)
        batch = agent.batch(after.learner, steps, after.loop)
        return jax.grad(agent.loss, has_aux=True)(after.learner.params, batch, before.loop.carry)

    gradient, metrics = gradient_and_metrics(jax.random.key(0))
    # The count is right, a reward of 1 and a successor that counts one more: each step's error is 2 per step left.
    lam, left = 0.95, np.arange(8, 0, -1)
    error = np.mean([2 * (1 - lam**n) / (1 - lam) for n in left])
    np.testing.assert_allclose(metrics["td_error"], error, rtol=1e-5)
    np.testing.assert_allclose(gradient["params"]["head"]["weight"], -error, rtol=1e-5)


BLIND = Clock("truncated", min_length=2, max_length=3, blind=True)


def test_a_truncated_episode_goes_on():
    histogram = heads.HLGaussQNetwork(3, 20, v_min=-1.0, v_max=4.0)
    knows_that_a_truncated_episode_goes_on(agents.pqn(BLIND, "mlp", head=histogram, **ENDLESS))


def test_burn_in_steps_are_not_learned_from_but_remembered():
    agent = agents.pqn(Recall(5), burn_in_length=3, num_minibatches=1, refresh_targets=True)

    @jax.jit
    def record(key):
        before = agent.init(key)
        after, steps = agent.rollout(key, before, agent.config.num_steps)
        return before, agent.batch(after.learner, steps, after.loop)

    before, batch = record(jax.random.key(0))
    loss = jax.jit(lambda batch: agent.loss(before.learner.params, batch, before.loop.carry)[0])
    early = batch._replace(
        target=batch.target.at[:, :3].add(5.0),
        reward=batch.reward.at[:, :3].add(5.0),
        action=batch.action.at[:, :3].set(1 - batch.action[:, :3]),
    )
    np.testing.assert_allclose(loss(batch), loss(early), rtol=1e-6)
    late = batch._replace(target=batch.target.at[:, 3:].add(5.0), reward=batch.reward.at[:, 3:].add(5.0))
    assert abs(loss(batch) - loss(late)) > 1e-3
    seen = batch._replace(inputs=batch.inputs.replace(observation=batch.inputs.observation.at[:, :3].add(5.0)))
    assert abs(loss(batch) - loss(seen)) > 1e-6


def test_masked_actions_are_never_taken_or_bootstrapped_from(key):
    agent = agents.pqn(Masked(), "mlp", epsilon_start=0.5)
    state, logs = lox.spool(agent.train)(key, agent.init(key), 2 * agent.steps_per_update)
    _, steps = agent.rollout(key, state, 20)
    assert (steps.reward == 1.0).all()
    # The value of a masked action is -1e9.
    assert (logs["losses/td_error"] < 100.0).all()


def test_epsilon_falls_with_the_transitions():
    agent = agents.pqn(Clock(), "mlp", epsilon_start=1.0, epsilon_end=0.25, epsilon_steps=100)
    steps = (0, 50, 100, 999)
    np.testing.assert_allclose([agent.epsilon_schedule(jnp.uint32(s)) for s in steps], [1, 0.625, 0.25, 0.25])


def test_a_schedule_of_ones_own_may_tell_environments_apart(key):
    epsilon = jnp.asarray([0.0, 1.0])
    agent = agents.pqn(Clock(), "mlp", epsilon_schedule=lambda step: epsilon, num_envs=2)
    _, steps = jax.jit(lambda key: agent.rollout(key, agent.init(key), 60))(key)
    greedy = steps.action == jnp.argmax(steps.aux["q"], axis=-1)
    assert greedy[0].all()
    assert greedy[1].mean() < 0.6


def test_the_default_network_is_normalized():
    agent = build_agent(default_run("pqn"))
    params = jax.eval_shape(agent.init, jax.random.key(0)).learner.params["params"]
    assert "scale" in params["feature_extractor"]["observation_extractor"]["layers_1"]
    assert "scale" in params["torso"]["norm"]


def test_pqn_is_registered():
    assert ALGORITHMS.get("pqn") == (PQN, PQNConfig)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        *(({name: 0}, f"`{name}` must be at least 1, got 0") for name in ("num_envs", "num_steps")),
        ({"num_minibatches": 0}, "`num_minibatches` must be at least 1 or None, got 0"),
        ({"update_epochs": 0}, "`update_epochs` must be at least 1"),
        ({"epsilon_steps": 0}, "`epsilon_steps` must be at least 1 or None, got 0"),
        ({"burn_in_length": -1}, "`burn_in_length` must be at least 0"),
        ({"gamma": 1.01}, r"`gamma` must be in \[0, 1\]"),
        ({"td_lambda": -0.1}, r"`td_lambda` must be in \[0, 1\]"),
        ({"epsilon_start": 2.0}, r"`epsilon_start` must be in \[0, 1\]"),
        ({"epsilon_end": -1.0}, r"`epsilon_end` must be in \[0, 1\]"),
        ({"burn_in_length": 64}, r"`burn_in_length` \(64\) must be below `num_steps` \(64\)"),
    ],
)
def test_bad_configurations_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        PQNConfig(**fields)


@pytest.mark.parametrize("field", ["num_envs", "num_steps", "burn_in_length", "epsilon_steps"])
def test_numbers_of_things_are_integers(field):
    or_none = " or None" if field == "epsilon_steps" else ""
    with pytest.raises(TypeError, match=f"`{field}` must be an integer{or_none}, got 8.0"):
        PQNConfig(**{field: 8.0})


def test_minibatches_must_divide_the_environments_for_sequences_and_the_batch_for_single_steps():
    message = r"`num_minibatches` \(4\) must divide `num_envs` \(6\) for recurrent networks and refreshed targets"
    with pytest.raises(ValueError, match=message):
        agents.pqn(Clock(), num_minibatches=4)
    with pytest.raises(ValueError, match=message):
        agents.pqn(Clock(), "mlp", num_minibatches=4, refresh_targets=True)
    agents.pqn(Clock(), "mlp", num_minibatches=4)
    with pytest.raises(ValueError, match=r"must divide `num_envs \* num_steps` \(48\) for networks without memory"):
        agents.pqn(Clock(), "mlp", num_minibatches=5)


@pytest.mark.parametrize(
    ("head", "error", "message"),
    [
        (heads.VNetwork(), TypeError, "`q_network` must have a head that gives one value per action, got VNetwork"),
        (heads.C51QNetwork(3), TypeError, "a head that learns towards numbers, such as .* got C51QNetwork"),
        (heads.DiscreteQNetwork(4), ValueError, "`action_dim` of head `DiscreteQNetwork` must be 3"),
    ],
)
def test_heads_that_do_not_fit_are_refused(head, error, message):
    with pytest.raises(error, match=message):
        agents.pqn(Clock(), "mlp", head=head)


def test_continuous_actions_and_what_is_no_network_are_refused():
    network = Network(agents.extractor(), agents.TORSOS["mlp"](), heads.VNetwork())
    with pytest.raises(TypeError, match="`env` must have Discrete or MultiDiscrete actions for `q_network` to value"):
        PQN(PQNConfig(), Clock(action_space=Box(-1.0, 1.0, (2,))), None, network, optax.sgd(0.1))
    with pytest.raises(TypeError, match="`q_network` must be a Network, got MLP"):
        PQN(PQNConfig(), Clock(), None, MLP(), optax.sgd(0.1))
