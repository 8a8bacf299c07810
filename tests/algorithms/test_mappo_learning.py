"""Agents learn what they must remember of each other; without memory they cannot."""

import jax
import numpy as np
import pytest
from tests import example_agents as agents
from tests.long_runs import compile_for_long

from memorax import lox
from memorax.environments import make
from memorax.environments.multi_agent import PartnerRecall
from memorax.networks import MLP, FeatureExtractor

CONFIG = {"num_envs": 32, "num_steps": 15, "num_minibatches": 4, "update_epochs": 4, "learning_rate": 1e-2}


def returns(agent, num_updates, num_episodes=50):
    """Mean returns of three seeds before and after learning, `[seeds]` each."""
    keys = jax.random.split(jax.random.key(0), 3)
    states = jax.vmap(agent.init)(keys)
    play = jax.vmap(lambda key, state: lox.spool(agent.evaluate)(key, state, num_episodes=num_episodes)[1])
    evaluate = compile_for_long(play)
    train = compile_for_long(jax.vmap(agent.train, in_axes=(0, 0, None)), static_argnums=2)

    def measure(states):
        return np.asarray(evaluate(keys, states)["returned_episode_returns"]).mean(axis=(1, 2))

    before = measure(states)
    return before, measure(train(keys, states, num_updates * agent.steps_per_update))


@pytest.mark.slow
@pytest.mark.parametrize(("torso", "solves"), [("gru", True), ("mlp", False)])
def test_recalling_a_partner_needs_memory(torso, solves, monkeypatch):
    # Who sees its own last action can keep a symbol in what it does while it waits.
    monkeypatch.setattr(agents, "extractor", lambda: FeatureExtractor(MLP(features=(7,))))
    _, after = returns(agents.mappo(PartnerRecall(delay=3), torso, **CONFIG), 60)
    assert (after > 0.95).all() if solves else (after < 0.7).all(), after


RANDOM = -27.3
"""What uniformly random actions get in simple spread: the mean over 500 episodes, with a standard error of 0.4."""


@pytest.mark.slow
def test_agents_spread_better_than_at_random():
    pytest.importorskip("jaxmarl", reason="jaxmarl is not installed; it comes with the extra `jaxmarl`")
    env, _ = make("jaxmarl::MPE_simple_spread_v3")
    config = CONFIG | {"num_steps": 52, "learning_rate": 3e-3, "gamma": 0.95}
    before, after = returns(agents.mappo(env, "mlp", **config), 60)
    assert (after > np.maximum(before, RANDOM) + 1.5).all(), (before, after)
