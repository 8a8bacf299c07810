import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tests import example_agents as agents

from memorax import lox
from memorax.algorithms import ALGORITHMS, DQN, DQNConfig
from memorax.buffers import get_start_flags_from_done, make_episode_buffer
from memorax.core.spaces import Box
from memorax.networks import MLP, Network, heads
from memorax.testing.algorithm_properties import (
    PROPERTIES,
    compiles_once,
    evaluates_whole_episodes,
    maps_over_seeds,
    stays_finite,
)
from memorax.testing.probe_environments import Clock, Masked, MixedEnds, Recall
from memorax.testing.q_learning_properties import (
    bootstraps_as_defined,
    counts_one_more_at_the_successor,
    knows_that_a_truncated_episode_goes_on,
    replays_what_it_did,
)

ENDLESS = {"gamma": 0.5, "learning_rate": 0.02, "target_update_frequency": 12, "epsilon_steps": 1, "batch_size": 16}
SLOW = pytest.mark.slow
LONG = (maps_over_seeds, compiles_once, evaluates_whole_episodes)
RANGE = {"v_min": -1.0, "v_max": 4.0}


@pytest.fixture(scope="module")
def agent():
    return agents.dqn(Clock("terminated"))


@pytest.mark.parametrize(
    "holds", [pytest.param(f, marks=SLOW if f in LONG else ()) for f in PROPERTIES], ids=lambda f: f.__name__
)
def test_property(agent, holds):
    holds(agent)


@pytest.mark.parametrize("ends", ["truncated", pytest.param("both", marks=SLOW)])
def test_numbers_stay_finite_however_episodes_end(ends):
    stays_finite(
        lambda env: agents.dqn(env, "mlp", n_step=3, burn_in_length=2), Clock(ends, min_length=1, max_length=2)
    )


@pytest.mark.parametrize("torso", ["gru", pytest.param("mlp", marks=SLOW)])
def test_values_of_stored_sequences_are_those_of_acting(torso):
    replays_what_it_did(agents.dqn(Recall(4), torso, cls=agents.recording(DQN), sequence_period=1))


class AfterTheStep(agents.recording(DQN)):
    """Keeps the memory after the step in place of the one before it."""

    def record(self, transition):
        kept = super().record(transition)
        if transition.reward.ndim == 1:
            return kept
        return kept.replace(carry=jax.tree.map(lambda x: jnp.roll(x, -1, axis=1), kept.carry))


@pytest.mark.slow
def test_a_memory_from_the_wrong_step_is_found():
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        replays_what_it_did(agents.dqn(Recall(4), cls=AfterTheStep, sequence_period=1))


@pytest.mark.parametrize("burn_in_length", [0, 2])
def test_the_successor_is_the_next_column_of_the_same_unroll(burn_in_length):
    counts_one_more_at_the_successor(agents.counting(DQN, burn_in_length=burn_in_length))


class Shifted(DQN):
    """Runs the target network over `x_1 ..` with the memory that belongs before `x_0`."""

    def loss(self, params, target_params, batch, carry, importance):
        def shifted(params, inputs, carry, burn_in=0):
            later = jax.tree.map(lambda x: x[:, 1:], inputs)
            return self.networks.unroll(params, later, carry, burn_in)[1]

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(self.networks, "unroll_successors", shifted)
            return super().loss(params, target_params, batch, carry, importance)


@pytest.mark.slow
def test_a_shifted_pass_is_found():
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        counts_one_more_at_the_successor(agents.counting(Shifted))


@pytest.mark.parametrize(
    ("double", "n_step"), [(True, 3), *(pytest.param(*case, marks=SLOW) for case in ((True, 1), (False, 2)))]
)
def test_loss_is_that_of_returns_computed_step_by_step(double, n_step):
    bootstraps_as_defined(agents.dqn(MixedEnds(), double=double, n_step=n_step, burn_in_length=1, sequence_length=7))


class IntoTheNextEpisode(DQN):
    """Bootstraps through a truncation from what was seen after it, which is the next episode."""

    def targets(self, batch):
        return dataclasses.replace(super().targets(batch), hidden=jnp.zeros_like(batch.truncated))


class Single(DQN):
    """Lets the target network choose, whatever it is told."""

    def loss(self, *arguments):
        config, self.config = self.config, dataclasses.replace(self.config, double=False)
        try:
            return super().loss(*arguments)
        finally:
            self.config = config


@pytest.mark.slow
@pytest.mark.parametrize("mutant", [IntoTheNextEpisode, Single])
def test_a_wrong_bootstrap_is_found(mutant):
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        bootstraps_as_defined(agents.dqn(MixedEnds(), "mlp", cls=mutant, n_step=2, sequence_length=7))


@pytest.mark.parametrize(
    "head",
    [None, heads.C51QNetwork(3, 21, **RANGE), pytest.param(heads.HLGaussQNetwork(3, 20, **RANGE), marks=SLOW)],
    ids=["numbers", "c51", "hl-gauss"],
)
def test_a_truncated_episode_goes_on(head):
    env = Clock("truncated", min_length=2, max_length=3, blind=True)
    knows_that_a_truncated_episode_goes_on(agents.dqn(env, "mlp", head=head, **ENDLESS))


class Terminates(DQN):
    """Takes a truncation for the end."""

    def targets(self, batch):
        return super().targets(batch.replace(terminated=batch.terminated | batch.truncated))


@pytest.mark.slow
def test_taking_a_truncation_for_the_end_is_found():
    env = Clock("truncated", min_length=2, max_length=3, blind=True)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        knows_that_a_truncated_episode_goes_on(agents.dqn(env, "mlp", cls=Terminates, **ENDLESS))


class Tally(DQN):
    """Learns the number of its updates, and logs what the target knows of it."""

    def init_learner(self, key, rollout_state):
        learner = super().init_learner(key, rollout_state)
        zero = {"updates": jnp.zeros(())}
        return dataclasses.replace(learner, online=type(learner.online).create(self.optimizer, zero), target=zero)

    def policy(self, learner, step, behavior):
        return lambda key, carry, timestep: (carry, jnp.zeros(timestep.reward.shape, jnp.int32), {})

    def loss(self, params, target_params, batch, carry, importance):
        return -params["updates"], ({"target": target_params["updates"]}, None)


@pytest.mark.parametrize(
    ("num_envs", "frequency", "period"),
    [(2, 3, 7), (5, 10, 25), *(pytest.param(*sizes, marks=SLOW) for sizes in ((3, 2, 4), (2, 6, 4), (4, 1, 10)))],
)
def test_the_target_moves_whenever_a_multiple_of_its_period_is_passed(num_envs, frequency, period, key):
    config = DQNConfig(num_envs=num_envs, train_frequency=frequency, target_update_frequency=period, learning_starts=1)
    network = agents.dqn(Clock(), "mlp").networks.network
    agent = Tally(config, Clock(), None, network, optax.sgd(1.0))
    # A warmup that ends between two updates changes nothing.
    state = agent.warmup(key, agent.init(key), 2 * num_envs)
    first = int(state.step) // frequency
    _, logs = lox.spool(agent.train)(key, state, 8 * agent.steps_per_update)
    target, expected = 0, []
    for u in range(8 * agent.num_updates):
        expected.append(target)
        if (first + u + 1) * frequency // period > (first + u) * frequency // period:
            target = u + 1
    np.testing.assert_array_equal(logs["losses/target"], expected)


def learned(agent, *lengths):
    """The networks before, and after each of so many further steps; all in one program."""

    @jax.jit
    def run(key):
        states = [agent.init(key)]
        for length in lengths:
            method = agent.train if length > 0 else agent.warmup
            states.append(method(key, states[-1], abs(length)))
        return [(state.learner.online.params, state.learner.target) for state in states]

    return run(jax.random.key(0))


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(*map(jax.tree.leaves, (a, b)), strict=True))


def test_nothing_is_learned_before_there_is_enough_and_then_the_target_follows():
    agent = agents.dqn(Clock(), "mlp", learning_starts=36, tau=0.25, target_update_frequency=12)
    # 12 steps of warmup, 12 that only fill the replay, and 12 that learn.
    start, warm, filled, (online, target) = learned(agent, -12, 12, 12)
    assert same(start, warm)
    assert same(start, filled)
    assert not same(start[0], online)
    expected = jax.tree.map(lambda old, new: 0.75 * old + 0.25 * new, start[1], online)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-6), target, expected)


@pytest.mark.parametrize("where", ["observation", pytest.param("info", marks=SLOW)])
def test_masked_actions_are_never_taken_or_bootstrapped_from(where):
    agent = agents.dqn(Masked(where), "mlp", epsilon_start=0.5)

    @jax.jit
    def run(key):
        state = agent.warmup(key, agent.init(key), 20)
        state, logs = lox.spool(agent.train)(key, state, 24)
        return agent.rollout(key, state, 20)[1].reward, state.buffer.experience.reward[:, :22], logs

    acted, kept, logs = run(jax.random.key(0))
    assert (acted == 1.0).all()
    assert (kept == 1.0).all()
    # The value that a return bootstraps from never is that of a masked action, -1e9.
    assert (logs["losses/td_error"] < 100.0).all()


def test_epsilon_falls_with_the_transitions(key):
    agent = agents.dqn(Clock(), "mlp", epsilon_start=1.0, epsilon_end=0.25, epsilon_steps=100)
    np.testing.assert_allclose(
        [agent.epsilon_schedule(jnp.uint32(s)) for s in (0, 50, 100, 999)], [1, 0.625, 0.25, 0.25]
    )


def test_a_schedule_of_ones_own_may_tell_environments_apart(key):
    epsilon = jnp.asarray([0.0, 1.0])
    agent = agents.dqn(Clock(), "mlp", arguments={"epsilon_schedule": lambda step: epsilon})
    _, steps = agent.rollout(key, agent.init(key), 60)
    greedy = steps.action == jnp.argmax(steps.aux["q"], axis=-1)
    assert greedy[0].all()
    assert greedy[1].mean() < 0.6


def episodes(num_envs=2, length=5):
    return make_episode_buffer(100, 10, 4, length, get_start_flags_from_done, True, num_envs)


@pytest.mark.slow
def test_sequences_that_begin_with_episodes_need_no_memory(key):
    agent = agents.dqn(Clock(), arguments={"buffer": episodes()}, cls=agents.recording(DQN))
    assert agent.init(key).buffer.experience.carry is None
    replays_what_it_did(agent)


def test_fresh_memories_on_request(key):
    agent = agents.dqn(Clock(), store_carry=False)
    assert agent.init(key).buffer.experience.carry is None
    jax.eval_shape(lambda key: agent.train(key, agent.init(key), 12), key)


def test_memories_are_kept_where_sequences_begin_only(key):
    agent = agents.dqn(Clock(), sequence_length=9, buffer_size=80)
    experience = agent.init(key).buffer.experience
    assert experience.reward.shape == (2, 40)
    assert jax.tree.leaves(experience.carry)[0].shape[:2] == (2, 10)
    assert (experience.aux, experience.info) == ({}, {})


@pytest.mark.parametrize(
    ("torso", "config", "length"),
    [
        ("mlp", {}, 2),
        ("mlp", {"n_step": 3, "burn_in_length": 9}, 4),
        ("gru", {}, 17),
        ("gru", {"burn_in_length": 5}, 22),
    ],
)
def test_sequences_are_as_long_as_they_need_to_be(torso, config, length):
    agent = agents.dqn(Clock(), torso, sequence_length=None, **config)
    assert agent.buffer.layout.sample_sequence_length == length


def test_the_documented_configuration_runs():
    config = DQNConfig(num_envs=8, tau=1.0, target_update_frequency=1000, train_frequency=4, burn_in_length=0)
    agent = DQN(config, Clock(), None, agents.dqn(Clock()).networks.network, optax.adam(3e-4))
    assert (agent.collect_steps, agent.num_updates) == (1, 2)
    jax.eval_shape(lambda key: agent.train(key, agent.init(key), 16), jax.random.key(0))


def test_dqn_is_registered():
    assert ALGORITHMS.get("dqn") == (DQN, DQNConfig)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        *(({name: 0}, f"`{name}` must be at least 1, got 0") for name in ("num_envs", "train_frequency", "batch_size")),
        ({"buffer_size": 0}, "`buffer_size` must be at least 1"),
        ({"target_update_frequency": 0}, "`target_update_frequency` must be at least 1"),
        ({"learning_starts": 0}, "`learning_starts` must be at least 1"),
        ({"sequence_length": 0}, "`sequence_length` must be at least 1"),
        ({"sequence_period": 0}, "`sequence_period` must be at least 1"),
        ({"burn_in_length": -1}, "`burn_in_length` must be at least 0"),
        ({"n_step": 0}, "`n_step` must be at least 1"),
        ({"epsilon_steps": 0}, "`epsilon_steps` must be at least 1 or None, got 0"),
        ({"gamma": 1.01}, r"`gamma` must be in \[0, 1\]"),
        ({"epsilon_start": 2.0}, r"`epsilon_start` must be in \[0, 1\]"),
        ({"epsilon_end": -1.0}, r"`epsilon_end` must be in \[0, 1\]"),
        ({"tau": 0.0}, "`tau` must be above 0 and at most 1, got 0.0"),
        ({"learning_starts": 20, "buffer_size": 19}, r"`learning_starts` \(20\) must be at most `buffer_size` \(19\)"),
        (
            {"sequence_length": 8, "burn_in_length": 7},
            r"`sequence_length` must be at least 9, got 8: `burn_in_length` \(7\) steps, one to learn from",
        ),
    ],
)
def test_bad_configurations_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        DQNConfig(**fields)


@pytest.mark.parametrize("field", ["num_envs", "n_step", "sequence_length", "learning_starts"])
def test_numbers_of_things_are_integers(field):
    with pytest.raises(TypeError, match=rf"`{field}` must be an integer( or None)?, got 8.0"):
        DQNConfig(**{field: 8.0})


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"arguments": {"buffer": object()}}, TypeError, "`buffer` must have .* got object"),
        ({"arguments": {"buffer": episodes(3)}}, ValueError, r"`num_envs` \(2\)"),
        ({"arguments": {"buffer": episodes(length=6)}}, ValueError, "`sequence_length` must be 6, what `buffer` draws"),
        (
            {"arguments": {"buffer": episodes(length=6)}, "sequence_length": None, "burn_in_length": 5},
            ValueError,
            "`sequence_length` must be at least 7, got 6",
        ),
        ({"buffer_size": 7}, ValueError, "`buffer_size` must be at least 12, a sequence of 5 steps in each of 2"),
        ({"head": heads.VNetwork()}, TypeError, "`q_network` must have a head that gives one value per action, got VN"),
        ({"head": heads.Categorical(3)}, TypeError, "one value per action, got Categorical"),
        ({"head": heads.HLGaussVNetwork()}, TypeError, "one value per action, got HLGaussVNetwork"),
        ({"head": heads.DiscreteQNetwork(4)}, ValueError, "`action_dim` of head `DiscreteQNetwork` must be 3"),
        ({"head": heads.ContinuousQNetwork()}, TypeError, "head `ContinuousQNetwork` needs a Box"),
    ],
)
def test_what_does_not_fit_is_refused(options, error, message):
    with pytest.raises(error, match=message):
        agents.dqn(Clock(), **({"torso": "mlp"} if "head" in options else {}), **options)


def test_continuous_actions_and_what_is_no_network_are_refused():
    env = Clock(action_space=Box(-1.0, 1.0, (2,)))
    network = Network(agents.extractor(), agents.TORSOS["mlp"](), heads.VNetwork())
    with pytest.raises(TypeError, match="`env` must have Discrete or MultiDiscrete actions for `q_network` to value"):
        DQN(DQNConfig(), env, None, network, optax.sgd(0.1))
    with pytest.raises(TypeError, match="`q_network` must be a Network, got MLP"):
        DQN(DQNConfig(), Clock(), None, MLP(), optax.sgd(0.1))


def test_single_steps_from_a_replay_are_refused():
    class Items:
        def init(self, item):
            return item

        add = can_sample = init

        def sample(self, state, key):
            return agents.Drawn(state)

    with pytest.raises(ValueError, match=re.escape("`buffer` must draw sequences, [batch, time, ...], got []")):
        agents.dqn(Clock(), arguments={"buffer": Items()})


def test_a_replay_with_less_room_than_its_sequences_is_refused():
    class Small:
        def init(self, item):
            return agents.Drawn(jax.tree.map(lambda x: jnp.zeros((2, 3, *x.shape)), item))

        add = can_sample = init

        def sample(self, state, key):
            return agents.Drawn(jax.tree.map(lambda x: jnp.zeros((4, 5, *x.shape[2:])), state.experience))

    message = "`buffer` must hold at least a sequence of 5 steps per environment, got room for 3"
    with pytest.raises(ValueError, match=message):
        agents.dqn(Clock(), "mlp", arguments={"buffer": Small()})


def test_a_replay_of_flashbax_will_do():
    flashbax = pytest.importorskip("flashbax")
    buffer = flashbax.make_trajectory_buffer(
        add_batch_size=2,
        sample_batch_size=4,
        sample_sequence_length=5,
        period=1,
        min_length_time_axis=5,
        max_length_time_axis=50,
    )
    agent = agents.dqn(Clock(), arguments={"buffer": buffer})
    jax.eval_shape(lambda key: agent.train(key, agent.init(key), 12), jax.random.key(0))
