"""How far back an agent looks, on agents of which it is known."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.environments.host.toys import Walk
from tests.example_agents import dqn, gradient_ppo, mappo, ppo, pqn, r2d2, sac, stream_ac

import memorax
from memorax.core.spaces import Box, Discrete
from memorax.diagnostics import recall_over_lag
from memorax.environments import Environment, as_host
from memorax.networks.sequence_models import MODELS

AGENTS = {"gradient_ppo": gradient_ppo, "dqn": dqn, "r2d2": r2d2, "pqn": pqn, "sac": sac, "stream_ac": stream_ac}
SMALL = {"max_lag": 5, "num_envs": 6, "windows": 4}


def subject(make_agent, env=None, torso="gru", **options):
    env = memorax.make("memory::RepeatPreviousEasy")[0] if env is None else env
    agent = make_agent(env, torso, **options)
    return SimpleNamespace(agent=agent, state=agent.init(jax.random.key(0)))


@pytest.mark.parametrize(("torso", "reach"), [("mlp", 0), ("frame_stack", 2), ("gru", 5)])
def test_an_agent_looks_back_as_far_as_its_memory_reaches(torso, reach):
    recall = recall_over_lag(subject(ppo, torso=torso), **SMALL)
    assert list(recall.lags) == list(range(6))
    for effects in (recall.perturbation, recall.gradient):
        for effect in effects.values():
            assert np.all(effect[: reach + 1] > 0)
            assert np.all(effect[reach + 1 :] == 0), "nothing is left of what the memory cannot hold"
    assert recall.reach(1e-6) == reach
    assert 0 <= recall.mean_lag() <= reach


@pytest.mark.parametrize(
    "algorithm", [name if name in ("dqn", "sac") else pytest.param(name, marks=pytest.mark.slow) for name in AGENTS]
)
def test_agents_of_every_algorithm_are_measured(algorithm):
    recall = recall_over_lag(subject(AGENTS[algorithm]), **SMALL | {"windows": 2})
    assert np.all(recall.perturbation["value"] > 0)
    assert np.all(recall.perturbation["policy"] > 0)
    assert np.all(recall.gradient["policy"] > 0)


def test_several_agents_are_measured_together():
    env = memorax.make("multi_agent::PartnerRecall")[0]
    recall = recall_over_lag(subject(mappo, env), **SMALL | {"windows": 2})
    # Its observations differ between episodes only while the cue is shown.
    assert recall.perturbation["value"].max() > 0
    assert recall.perturbation["value"][5] > 0
    assert recall.gradient["value"][0] > 0


@pytest.mark.slow
@pytest.mark.parametrize("torso", [name for name in MODELS if MODELS.get(name).receptive_field is not None])
def test_models_with_a_known_receptive_field_look_back_no_further(torso):
    field = MODELS.get(torso).receptive_field
    recall = recall_over_lag(subject(ppo, torso=torso), **SMALL)
    assert np.all(recall.perturbation["value"][field:] == 0)


def test_what_was_before_the_episode_does_not_count():
    env = memorax.make("memory::MemoryChain", length=2)[0]
    recall = recall_over_lag(subject(ppo, env), **SMALL)
    assert list(recall.lags) == [0, 1, 2], "an episode has three observations"
    assert recall.states[0] == 6 * 4
    assert np.all(np.diff(recall.states) <= 0)
    assert recall.states[1] < recall.states[0]


def test_observations_that_are_whole_numbers_have_no_gradient():
    class Cards(Environment):
        """Shows the number of a card."""

        def reset_env(self, key, params):
            return jax.random.randint(key, (1,), 0, 5), jnp.zeros(())

        def step_env(self, key, state, action, params):
            return jax.random.randint(key, (1,), 0, 5), state, jnp.zeros(()), jnp.zeros((), bool), {}

        def action_space(self, params=None):
            return Discrete(3)

        def observation_space(self, params=None):
            return Box(0, 4, (1,), jnp.int32)

    found = recall_over_lag(subject(ppo, Cards()), **SMALL)
    assert found.gradient is None
    assert found.to_json()["gradient"] is None
    assert found.to_json()["perturbation"]["value"][0] > 0


def test_the_gradient_is_that_of_finite_differences():
    from memorax.diagnostics.recall import judge_all, live
    from memorax.diagnostics.subject import Subject

    one = Subject(subject(ppo))
    _, window = live(one, jax.random.key(1), one.start(jax.random.key(2), 3), 4)
    x = window.inputs.observation

    def value(x):
        return judge_all(one, window, x)["value"][-1].sum()

    exact = jax.grad(value)(x)[1, 2, 0]
    step = 1e-2
    slope = (value(x.at[1, 2, 0].add(step)) - value(x.at[1, 2, 0].add(-step))) / (2 * step)
    np.testing.assert_allclose(exact, slope, rtol=2e-2, atol=1e-6)


def test_what_does_not_fit_is_refused():
    agent = subject(ppo)
    with pytest.raises(TypeError, match="`policy` must have the attribute `state`"):
        recall_over_lag(SimpleNamespace(agent=agent.agent))
    several = SimpleNamespace(agent=agent.agent, state=jax.vmap(agent.agent.init)(jax.random.split(jax.random.key(0))))
    with pytest.raises(ValueError, match="single seed, got 2 seeds"):
        recall_over_lag(several)
    in_python = ppo(as_host(lambda: Walk()), "mlp")  # noqa: PLW0108  a class is refused
    with pytest.raises(TypeError, match="must act in an environment of JAX, got Walk, which runs in Python"):
        recall_over_lag(SimpleNamespace(agent=in_python, state=in_python.init(jax.random.key(0))))
    with pytest.raises(ValueError, match="`num_envs` must be"):
        recall_over_lag(agent, num_envs=1)
    with pytest.raises(ValueError, match="`behavior` must be"):
        recall_over_lag(agent, behavior="random")
