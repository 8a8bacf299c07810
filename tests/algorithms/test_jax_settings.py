"""Every registered algorithm works under the settings of JAX that its users turn on."""

import jax
import numpy as np
import pytest
from tests import example_agents as agents

from memorax import lox
from memorax.algorithms import ALGORITHMS
from memorax.environments.multi_agent import RollCall
from memorax.networks import heads
from memorax.testing.normalization_properties import NORMALIZED
from memorax.testing.probe_environments import Clock


def agent_of(name, **options):
    env = RollCall(delay=1) if name == "mappo" else Clock("truncated", 2, 3)
    return getattr(agents, name)(env, **options)


def c51():
    return heads.C51QNetwork(action_dim=3, num_atoms=5, v_min=-1.0, v_max=1.0)


def hl_gauss():
    return heads.HLGaussQNetwork(action_dim=3, num_bins=5, v_min=-1.0, v_max=1.0)


CASES = {
    **{name: lambda name=name: agent_of(name, **NORMALIZED) for name in ALGORITHMS},
    "mappo, central critic": lambda: agent_of("mappo", centralized_critic=True, share_parameters=True),
    "dqn, c51": lambda: agent_of("dqn", head=c51()),
    "pqn, hl_gauss": lambda: agent_of("pqn", head=hl_gauss()),
}


@pytest.mark.parametrize("name", CASES)
def test_no_rank_is_promoted(name):
    agent, key = CASES[name](), jax.random.key(0)
    with jax.numpy_rank_promotion("raise"):
        state = jax.eval_shape(agent.init, key)
        state = jax.eval_shape(lambda key, state: agent.train(key, state, 2 * agent.steps_per_update), key, state)
        state = jax.eval_shape(lambda key, state: agent.warmup(key, state, agent.config.num_envs), key, state)
        jax.eval_shape(lambda key, state: agent.rollout(key, state, 2), key, state)
        jax.eval_shape(lambda key, state: agent.evaluate(key, state, 2, 2), key, state)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_nan_is_looked_for(name):
    """A replay agent has no losses before its buffer holds enough; that is no NaN."""
    options = {"learning_starts": 20} if name in ("dqn", "r2d2", "sac") else {}
    agent, key = agent_of(name, torso="mlp", **options), jax.random.key(0)
    with jax.debug_nans(True):
        state, logs = lox.spool(agent.train)(key, agent.init(key), agent.steps_per_update * 4)
        state = agent.evaluate(key, agent.warmup(key, state, agent.config.num_envs), 2)
    for value in jax.tree.leaves((logs, state.learner)):
        assert np.isfinite(value).all()
    if options:
        present = logs.present[next(key for key in logs if key.startswith("losses/"))]
        assert 0 < present.sum() < present.size
