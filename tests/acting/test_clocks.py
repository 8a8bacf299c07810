"""Schedules, target networks and random numbers follow the number of transitions, also beyond 2^32 of them."""

import dataclasses

import jax
import numpy as np
import optax
import pytest
from tests import example_agents as agents

from memorax.acting import StepCount, crosses
from memorax.algorithms import DQN, R2D2
from memorax.testing.probe_environments import Clock

KEY = jax.random.key(0)
SCHEDULES = {
    "piecewise": (
        optax.piecewise_constant_schedule(1.0, {100: 0.0}),
        {0: 1, 90: 1, 110: 0, 2**31 + 8: 0, 2**32 + 8: 0},
    ),
    "begins later": (optax.linear_schedule(1.0, 0.0, 10, transition_begin=100), {0: 1, 90: 1, 110: 0, 2**32 + 8: 0}),
    "joined": (
        optax.join_schedules([optax.constant_schedule(1.0), optax.linear_schedule(1.0, 0.0, 10)], [100]),
        {0: 1, 110: 0, 2**32 + 8: 0},
    ),
    "very long": (lambda step: optax.linear_schedule(1.0, 0.0, 1e10)(step) > 0.3, {2**32: 1, 8 * 10**9: 0}),
}


def random_share(agent, state, step):
    """How many actions of a rollout after so many transitions are not the greedy ones."""
    _, steps = agent.rollout(KEY, dataclasses.replace(state, step=StepCount.of(step)), 40)
    return np.mean(np.asarray(steps.action) != np.asarray(steps.aux["q"]).argmax(-1))


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("make", [agents.dqn, agents.pqn], ids=["dqn", "pqn"])
def test_epsilon_follows_schedules_of_optax(make, schedule):
    chosen, expected = SCHEDULES[schedule]
    options = {"arguments": {"epsilon_schedule": chosen}} if make is agents.dqn else {"epsilon_schedule": chosen}
    agent = make(Clock(), "mlp", **options)
    state = agent.init(KEY)
    for step, epsilon in expected.items():
        share = random_share(agent, state, step)
        assert (share > 0.4) if epsilon else (share == 0), (step, share)


@pytest.mark.parametrize("make", [agents.dqn, agents.pqn], ids=["dqn", "pqn"])
def test_exploration_stays_at_its_end(make):
    agent = make(Clock(), "mlp", epsilon_end=0.0, epsilon_steps=100)
    state = agent.init(KEY)
    assert random_share(agent, state, 2) > 0.4
    assert random_share(agent, state, 2**32 + 2) == 0


def test_exploration_may_last_longer_than_32_bits_count():
    agent = agents.pqn(Clock(), "mlp", epsilon_end=0.0, epsilon_steps=2**33)
    state = agent.init(KEY)
    assert random_share(agent, state, 2**32) > 0.2
    assert random_share(agent, state, 2**33) == 0


def test_the_exponent_of_importance_sampling_follows_schedules_of_optax():
    schedule = optax.linear_schedule(0.0, 1.0, 10, transition_begin=100)
    agent = agents.r2d2(Clock(), "mlp", arguments={"beta_schedule": schedule})
    drawn = agents.Drawn(None, np.float32([0.5, 0.125]))
    np.testing.assert_allclose(agent.importance(drawn, StepCount.of(7)), [1.0, 1.0])
    for step in (110, 2**32 + 7):
        np.testing.assert_allclose(agent.importance(drawn, StepCount.of(step)), [0.25, 1.0])


@pytest.mark.parametrize("start", [0, 2**32 - 600, 2**33 - 40])
@pytest.mark.parametrize(("stride", "period"), [(8, 24), (12, 1000), (10, 7), (30, 25)])
def test_target_networks_are_updated_once_per_period(start, stride, period):
    first = start // stride * stride
    due = jax.jit(jax.vmap(lambda i: crosses(StepCount.of(first) + i * stride, stride, period)))
    found = due(np.arange(200, dtype=np.uint32))
    steps = first + stride * np.arange(200)
    np.testing.assert_array_equal(found, (steps + stride) // period > steps // period)


@pytest.mark.parametrize("cls", [DQN, R2D2])
def test_a_period_that_cannot_be_counted_is_refused(cls):
    with pytest.raises(ValueError, match="`target_update_frequency` must be at most 2147483647, got 4294967296"):
        agents.dqn(Clock(), "mlp", cls=cls, target_update_frequency=2**32)
