"""Every registered algorithm normalizes by the statistics of its run; what breaks that is noticed."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests import example_agents as agents
from tests.assertions import assert_equal
from tests.copied_tasks import Copies

from memorax.algorithms import ALGORITHMS
from memorax.experiment.run import checkpoint
from memorax.networks import MLP, FeatureExtractor
from memorax.testing.normalization_properties import (
    NORMALIZED,
    enough_steps,
    evaluates_by_statistics_that_stay,
    keeps_statistics_of_everything_seen,
    learns_the_same_in_other_units,
)
from memorax.testing.probe_environments import Scaled


def does_not_depend_on_how_it_is_cut_and_saved(make, folder):
    """Training that is saved halfway, and goes on from the checkpoint, equals training in one go, bit for bit."""
    agent = make(Scaled(), **NORMALIZED)
    key, n = jax.random.key(1), enough_steps(agent)
    state = agent.init(jax.random.key(0))
    whole = agent.train(key, state, 2 * n)
    half = agent.train(key, state, n)
    writer = checkpoint.CheckpointWriter(folder)
    writer.save(n, half)
    writer.close()
    restored = checkpoint.restore(checkpoint.complete(folder)[-1], jax.eval_shape(agent.init, key))
    assert_equal(restored.scales, half.scales)
    assert not np.array_equal(half.scales.observations.mean[0], whole.scales.observations.mean[0])
    assert_equal(whole, agent.train(key, jax.tree.map(jnp.asarray, restored), n))


def maker(name, spoil=None):
    """What makes an agent of a registered algorithm, of which `spoil` breaks something."""

    def make(env, **config):
        agent = getattr(agents, name)(Copies(env, 2) if name == "mappo" else env, "mlp", **config)
        if spoil is not None:
            spoil(agent)
        return agent

    return make


def every(*quick):
    """All algorithms, of which but a few are for the slow run."""
    marked = [pytest.param(name, marks=[] if name in quick else [pytest.mark.slow]) for name in ALGORITHMS]
    return pytest.mark.parametrize("name", marked)


@every("stream_ac", "dqn")
def test_statistics_of_everything_seen(name):
    keeps_statistics_of_everything_seen(maker(name))


@every(*ALGORITHMS)
def test_evaluation_by_statistics_that_stay(name):
    evaluates_by_statistics_that_stay(maker(name))


@pytest.fixture
def unpaid(monkeypatch):
    """Networks that do not see the previous reward, which comes in the environment's units."""
    monkeypatch.setattr(agents, "extractor", lambda: FeatureExtractor(observation_extractor=MLP(features=(7,))))


@every()
def test_units(name, unpaid):
    learns_the_same_in_other_units(maker(name))


@every()
def test_saving_halfway(name, tmp_path):
    does_not_depend_on_how_it_is_cut_and_saved(maker(name), tmp_path)


def counts_rewards_only(agent):
    agent.normalizer.after_observations = lambda scales, *_: scales


def forgets_where_it_was(agent):
    after = agent.normalizer.after_rewards

    def fresh(scales, trajectory):
        return after(dataclasses.replace(scales, running_return=0 * scales.running_return), trajectory)

    agent.normalizer.after_rewards = fresh


@pytest.mark.parametrize("spoil", [counts_rewards_only, forgets_where_it_was])
def test_missing_samples_are_noticed(spoil):
    with pytest.raises(AssertionError):
        keeps_statistics_of_everything_seen(maker("stream_ac", spoil))


def evaluates_what_it_sees(agent):
    agent.normalizer.policy = lambda scales, policy: policy


def test_raw_observations_in_evaluation_are_noticed():
    with pytest.raises(AssertionError):
        evaluates_by_statistics_that_stay(maker("stream_ac", evaluates_what_it_sees))


def learns_from_what_it_sees(agent):
    agent.normalizer.transition = lambda scales, transition: transition


@pytest.mark.slow
def test_learning_in_units_of_the_environment_is_noticed(unpaid):
    with pytest.raises(AssertionError):
        learns_the_same_in_other_units(maker("stream_ac", learns_from_what_it_sees))


def begins_anew_with_every_call(agent):
    train = agent.train

    def fresh(key, state, num_steps):
        return train(key, dataclasses.replace(state, scales=agent.normalizer.init(state.loop)), num_steps)

    agent.train = fresh


@pytest.mark.slow
def test_statistics_that_begin_anew_are_noticed(tmp_path):
    with pytest.raises(AssertionError):
        does_not_depend_on_how_it_is_cut_and_saved(maker("stream_ac", begins_anew_with_every_call), tmp_path)
