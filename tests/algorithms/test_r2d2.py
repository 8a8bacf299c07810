import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tests import example_agents as agents

from memorax.algorithms import ALGORITHMS, R2D2, R2D2Config
from memorax.buffers import make_episode_buffer, make_prioritised_episode_buffer
from memorax.core.step_count import StepCount
from memorax.networks import heads
from memorax.objectives import epsilon_per_actor, rescale, unscale
from memorax.testing.algorithm_properties import (
    PROPERTIES,
    does_not_depend_on_how_it_is_split,
    keeps_its_types,
    logs_episodes_and_losses,
)
from memorax.testing.probe_environments import Clock, MixedEnds, Recall
from memorax.testing.q_learning_properties import (
    bootstraps_as_defined,
    counts_one_more_at_the_successor,
    knows_that_a_truncated_episode_goes_on,
    replays_what_it_did,
)

QUICK = (keeps_its_types, does_not_depend_on_how_it_is_split, logs_episodes_and_losses)
ENDLESS = {"gamma": 0.5, "learning_rate": 0.02, "target_update_frequency": 12, "batch_size": 16}


@pytest.fixture(scope="module")
def agent():
    return agents.r2d2(Clock("terminated"))


@pytest.mark.parametrize(
    "holds",
    [pytest.param(f, marks=[] if f in QUICK else [pytest.mark.slow]) for f in PROPERTIES],
    ids=lambda f: f.__name__,
)
def test_property(agent, holds):
    holds(agent)


@pytest.mark.slow
def test_values_of_stored_sequences_are_those_of_acting():
    replays_what_it_did(agents.r2d2(Recall(4), cls=agents.recording(R2D2), sequence_period=1))


@pytest.mark.slow
def test_the_successor_is_the_next_column_of_the_same_unroll():
    counts_one_more_at_the_successor(agents.counting(R2D2, burn_in_length=2, value_rescaling=False, n_step=1))


def rescaled(x):
    return float(rescale(jnp.float32(x)))


def test_loss_and_priorities_are_those_of_rescaled_returns_computed_step_by_step():
    agent = agents.r2d2(MixedEnds(), n_step=3, sequence_length=7, priority_eta=0.7)
    bootstraps_as_defined(agent, rescaled, lambda x: np.asarray(unscale(jnp.asarray(x))))


class Unscaled(R2D2):
    """Bootstraps from values on the learned scale as if they were returns."""

    def targets(self, batch):
        targets = super().targets(batch)
        return type(targets)(targets.reward, targets.discount, targets.hidden, targets.n, targets.scale, None)


class Mean(R2D2):
    """Takes the mean error for the priority."""

    def priorities(self, errors, weight):
        return jnp.sum(errors * weight, axis=1) / jnp.sum(weight, axis=1)


class Unweighed(R2D2):
    """Learns from all errors alike, those behind a cut too."""

    def priorities(self, errors, weight):
        return super().priorities(errors, jnp.ones_like(weight))


@pytest.mark.slow
@pytest.mark.parametrize("mutant", [Unscaled, Mean, Unweighed])
def test_wrong_targets_and_priorities_are_found(mutant):
    agent = agents.r2d2(MixedEnds(), "mlp", cls=mutant, n_step=3, sequence_length=7, burn_in_length=0)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        bootstraps_as_defined(agent, rescaled, lambda x: np.asarray(unscale(jnp.asarray(x))))


def test_priorities_mix_the_largest_and_the_mean_error():
    agent = agents.r2d2(Clock(), "mlp")
    errors = jnp.asarray([[1.0, 3.0, 100.0], [0.0, 0.0, 5.0], [2.0, 2.0, 2.0]])
    weight = jnp.asarray([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    np.testing.assert_allclose(agent.priorities(errors, weight), [0.9 * 3 + 0.1 * 2, 0.0, 0.0], atol=2e-6)
    assert (agent.priorities(errors, weight) > 0).all()


def test_rare_sequences_weigh_most():
    agent = agents.r2d2(Clock(), "mlp", importance_sampling_exponent=0.5)
    sample = agents.Drawn(None, jnp.asarray([0.1, 0.4, 0.025]))
    weights = agent.importance(sample, StepCount.of(0))
    np.testing.assert_allclose(weights, [0.5, 0.25, 1.0], rtol=1e-6)
    schedule = optax.linear_schedule(0.0, 1.0, 100)
    agent = agents.r2d2(Clock(), "mlp", arguments={"beta_schedule": schedule})
    np.testing.assert_allclose(agent.importance(sample, StepCount.of(0)), 1.0)
    np.testing.assert_allclose(agent.importance(sample, StepCount.of(100)), [0.25, 0.0625, 1.0], rtol=1e-6)


def test_priorities_reach_the_replay_and_change_what_is_drawn(agent, key):
    state = agent.train(key, agent.init(key), 12)
    probabilities = agent.buffer.sample(state.buffer, key).probabilities
    assert len(np.unique(np.asarray(probabilities))) > 1
    fresh = agent.warmup(key, agent.init(key), 12)
    assert len(np.unique(np.asarray(agent.buffer.sample(fresh.buffer, key).probabilities))) == 1


def test_every_environment_explores_in_its_own_way(agent):
    np.testing.assert_allclose(agent.epsilon_schedule(jnp.uint32(5)), epsilon_per_actor(2, 0.4, 7.0))


@pytest.mark.slow
@pytest.mark.parametrize(
    "head",
    [None, heads.C51QNetwork(3, 21, v_min=-1.0, v_max=2.0), heads.HLGaussQNetwork(3, 20, v_min=-1.0, v_max=2.0)],
    ids=["numbers", "c51", "hl-gauss"],
)
def test_a_truncated_episode_goes_on(head):
    class Seen(R2D2):
        """Says what it thinks in units of the return."""

        def policy(self, learner, step, behavior):
            act = super().policy(learner, step, behavior)

            def seen(key, carry, timestep):
                carry, action, aux = act(key, carry, timestep)
                return carry, action, {"q": unscale(aux["q"])}

            return seen

    env = Clock("truncated", min_length=2, max_length=3, blind=True)
    agent = agents.r2d2(env, "mlp", cls=Seen, head=head, **ENDLESS)
    knows_that_a_truncated_episode_goes_on(agent)


def test_the_documented_configuration_runs():
    documented = {
        "num_envs": 8,
        "tau": 1.0,
        "target_update_frequency": 500,
        "train_frequency": 10,
        "burn_in_length": 10,
    }
    documented |= {"sequence_length": 80, "n_step": 5, "priority_exponent": 0.9, "importance_sampling_exponent": 0.6}
    config = R2D2Config(**documented)
    schedules = optax.constant_schedule(0.1), optax.linear_schedule(0.6, 1.0, 1000)
    buffer = make_prioritised_episode_buffer(10_000, 1_000, 4, 80, add_batch_size=8, priority_exponent=0.9)
    agent = R2D2(config, Clock(), None, agents.dqn(Clock()).networks.network, optax.adam(1e-4), buffer, *schedules)
    assert (agent.collect_steps, agent.num_updates) == (5, 4)
    jax.eval_shape(lambda key: agent.train(key, agent.init(key), 40), jax.random.key(0))


def test_half_of_each_sequence_is_in_the_next_one():
    config = R2D2Config(learning_starts=10)
    agent = R2D2(config, Clock(), None, agents.dqn(Clock()).networks.network, optax.adam(1e-4))
    assert agent.buffer.layout.period == (80 - 10 - 1) // 2
    assert agent.buffer.layout.sample_sequence_length == 80


def test_every_transition_is_learned_from_about_four_times():
    """As in Acme; the paper says 0.8."""
    config = R2D2Config()
    learned = config.batch_size * (config.sequence_length - config.burn_in_length - 1)
    assert 4.0 <= learned / config.train_frequency <= 4.5
    assert config.target_update_frequency == 100 * config.train_frequency


def test_r2d2_is_registered():
    assert ALGORITHMS.get("r2d2") == (R2D2, R2D2Config)


def test_a_replay_without_priorities_is_refused():
    with pytest.raises(TypeError, match="`buffer` must have priorities, got EpisodeBuffer; make it with"):
        agents.r2d2(Clock(), "mlp", arguments={"buffer": make_episode_buffer(100, 10, 4, 5, add_batch_size=2)})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"n_step": 0}, "`n_step` must be at least 1, got 0"),
        ({"priority_eta": 1.5}, r"`priority_eta` must be in \[0, 1\], got 1.5"),
        ({"priority_exponent": -0.1}, r"`priority_exponent` must be in \[0, 1\]"),
        ({"importance_sampling_exponent": 2}, r"`importance_sampling_exponent` must be in \[0, 1\]"),
        ({"epsilon_base": 0.0}, "`epsilon_base` must be above 0 and at most 1, got 0.0"),
        ({"epsilon_exponent": -1.0}, "`epsilon_exponent` must be at least 0, got -1.0"),
        ({"burn_in_length": 79}, "`sequence_length` must be at least 81, got 80"),
    ],
)
def test_bad_configurations_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        R2D2Config(**values)
