"""Agents learn what they must remember; without memory they cannot."""

import jax
import numpy as np
import pytest
from tests import example_agents as agents

from memorax import lox
from memorax.networks import MLP, FeatureExtractor
from memorax.testing.probe_environments import Recall

CONFIG = {"num_envs": 32, "num_steps": 16, "num_minibatches": 4, "update_epochs": 4, "learning_rate": 1e-2}


def final_return(agent, num_updates):
    keys = jax.random.split(jax.random.key(0), 3)
    states = jax.vmap(agent.init)(keys)
    states = jax.vmap(agent.train, in_axes=(0, 0, None))(keys, states, num_updates * agent.steps_per_update)
    evaluate = jax.vmap(lambda key, state: lox.spool(agent.evaluate)(key, state, num_episodes=50)[1])
    return np.asarray(evaluate(keys, states)["returned_episode_returns"]).mean(axis=(1, 2))


@pytest.mark.parametrize(("torso", "solves"), [("gru", True), ("mlp", False)])
def test_a_recall_task_needs_memory(torso, solves):
    # Who sees its own last action can keep the cue in what it does while it waits.
    extract = FeatureExtractor(MLP(features=(7,)))
    returns = final_return(agents.ppo(Recall(delay=4), torso, extract=extract, **CONFIG), 40)
    assert (returns > 0.9).all() if solves else (np.abs(returns) < 0.5).all(), returns
