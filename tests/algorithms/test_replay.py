"""What is learned from is what was done, for every torso, on one trunk and on two; and what breaks that is noticed."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from tests import example_agents as agents

from memorax.algorithms import PPO
from memorax.networks import RNN, FeatureExtractor
from memorax.testing import algorithm_properties as replay
from memorax.testing.probe_environments import Clock

ONCE = {"update_epochs": 1, "num_minibatches": 1}
QUICK = ("gru", "lstm", "mlp", "lru", "mamba2", "gated_deltanet", "attention", "any cell")
"""One of each kind of memory; the others take a program each, and are for the slow run."""
TORSOS = [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow]) for name in agents.TORSOS]


def clock(ends="terminated"):
    return Clock(ends, min_length=2, max_length=7)


@pytest.fixture(scope="module", params=TORSOS)
def agent(request):
    shared = request.param not in ("lstm", "simple")
    return agents.ppo(clock(), request.param, shared=shared, **ONCE)


def test_a_rollout_is_replayed_as_one_sequence(agent):
    replay.replays_what_it_did(agent)


def test_the_first_ratio_is_one(agent):
    replay.begins_with_a_ratio_of_one(agent)


def test_the_first_ratio_is_one_after_a_burn_in():
    replay.begins_with_a_ratio_of_one(agents.ppo(clock(), burn_in_length=3, **ONCE))


def test_a_truncated_episode_is_valued_with_its_own_memory():
    replay.values_a_truncated_episode_with_its_own_memory(agents.ppo(clock("truncated"), **ONCE))


class ResetsLate(nn.Module):
    """Mutant: clears its memory one step after the episode began."""

    model: RNN

    def initialize_carry(self, key, input_shape):
        return self.model.initialize_carry(key, input_shape)

    def __call__(self, inputs, done, initial_carry=None):
        late = jnp.concatenate([jnp.zeros_like(done[:, :1]), done[:, :-1]], axis=1)
        return self.model(inputs, late, initial_carry)


class StoresTheCarryAfter(PPO):
    """Mutant: replays the rollout from the memory behind it."""

    def learn(self, key, learner, trajectory, rollout_state, carry):
        return super().learn(key, learner, trajectory, rollout_state, rollout_state.carry)


class MasksOnlyToLearn(FeatureExtractor):
    """Mutant: sees the action and reward of the episode before while acting, but not while learning."""

    def _mask(self, value, done):
        return super()._mask(value, done) if done.shape[1] > 1 else value


class TruncationEndsAll(PPO):
    """Mutant: takes truncation for termination."""

    def value(self, learner):
        value = super().value(learner)
        return lambda carry, timestep: jnp.where(timestep.done, value(carry, timestep), 0.0)


def test_a_reset_one_step_late_is_noticed():
    mutant = agents.ppo(clock(), lambda: ResetsLate(agents.TORSOS["gru"]()), **ONCE)
    with pytest.raises(AssertionError):
        replay.replays_what_it_did(mutant)


def test_a_carry_stored_after_the_step_is_noticed():
    with pytest.raises(AssertionError):
        replay.begins_with_a_ratio_of_one(agents.ppo(clock(), cls=StoresTheCarryAfter, **ONCE))


def test_a_mask_that_acting_does_not_have_is_noticed(monkeypatch):
    monkeypatch.setattr(agents, "FeatureExtractor", MasksOnlyToLearn)
    with pytest.raises(AssertionError):
        replay.begins_with_a_ratio_of_one(agents.ppo(clock(), **ONCE))


# Blind, so that the final observation is none that only final steps have.
BLIND = Clock("truncated", 1, 2, blind=True)
ENDLESS = {"gamma": 0.5, "gae_lambda": 0.5, "num_minibatches": 1, "clip_value_loss": False, "learning_rate": 1e-2}


def test_truncation_does_not_end_what_an_endless_task_is_worth():
    replay.knows_that_a_truncated_episode_goes_on(agents.ppo(BLIND, "mlp", **ENDLESS))


def test_truncation_taken_for_termination_is_noticed():
    mutant = agents.ppo(BLIND, "mlp", cls=TruncationEndsAll, **ENDLESS)
    with pytest.raises(AssertionError):
        replay.knows_that_a_truncated_episode_goes_on(mutant)


def test_seeds_side_by_side_bootstrap_like_seeds_alone():
    agent = agents.ppo(clock("truncated"), **ONCE)
    keys = jax.random.split(jax.random.key(0), 2)
    states = jax.vmap(agent.init)(keys)
    _, together = jax.vmap(agent.rollout, in_axes=(0, 0, None))(keys, states, 12)
    for i in range(2):
        _, alone = agent.rollout(keys[i], jax.tree.map(lambda x, i=i: x[i], states), 12)
        assert alone.truncated.any()
        assert jnp.allclose(together.aux["bootstrap"][i], alone.aux["bootstrap"], atol=1e-5)
        assert (alone.aux["bootstrap"] != 0).any()
