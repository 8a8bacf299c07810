"""What must hold for every algorithm that normalizes: its statistics are part of the run, and all use the same ones.

Each property takes what makes an agent, `make(env, **config)`, and raises AssertionError where it does not hold.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tests.conformance.algorithms import assert_equal
from tests.probe_environments import Clock, Scaled

from memorax import lox
from memorax.experiment.run import checkpoint

Make = Callable[..., Any]
KEY = jax.random.key(0)
BOTH = {"normalize_observations": True, "normalize_rewards": True, "gamma": 0.5}


def enough(agent: Any) -> int:
    """Transitions of two updates at least, and of more than an episode of every environment."""
    one = agent.steps_per_update
    return one * max(2, -(-7 * agent.config.num_envs // one))


def keeps_statistics_of_everything_seen(make: Make) -> None:
    """One set of statistics for all environments: of every observation, and of every return so far in its episode."""
    length = 3
    agent = make(Clock("truncated", length, length), **BOTH)
    state = agent.train(KEY, agent.init(KEY), enough(agent))
    # Whatever is done, every environment shows the time and pays 1.
    times = np.arange(int(state.step) // agent.config.num_envs + 1) % length
    seen = {
        "observations": (times, state.loop.timestep.observation),
        "returns": (np.array([1.0, 1.5, 1.75])[times[:-1]], state.loop.timestep.reward),
    }
    for name, (values, example) in seen.items():
        statistics, samples = getattr(state.scales, name), np.repeat(values, agent.config.num_envs)
        assert statistics.count == samples.size, name
        for kept, expected in ((statistics.mean, samples.mean()), (statistics.variance, samples.var(ddof=1))):
            (number,) = jax.tree.leaves(kept)
            assert number.shape == example.shape[1:]
            np.testing.assert_allclose(number, np.full(number.shape, expected), rtol=1e-4)


class PaysActions(Clock):
    """Pays the number of the action."""

    def step_env(self, key: Any, state: Any, action: Any, params: Any) -> tuple:
        observation, state, _, terminated, info = super().step_env(key, state, action, params)
        return observation, state, jnp.asarray(action, jnp.float32), terminated, info


def evaluates_by_statistics_that_stay(make: Make) -> None:
    """Evaluation shows the policy what the run's statistics make of an observation, and leaves them as they are."""
    agent = make(PaysActions("truncated", 3, 3), **BOTH)
    state = agent.init(KEY)
    # As if 1 had been seen on average, of the times 0, 1 and 2.
    shown = state.scales.observations
    shown = dataclasses.replace(shown, mean=jax.tree.map(jnp.ones_like, shown.mean))
    state = dataclasses.replace(state, scales=dataclasses.replace(state.scales, observations=shown))

    def policy(*_: Any) -> Any:
        def act(key: Any, carry: Any, timestep: Any) -> tuple:
            return carry, (timestep.observation[..., 0] > 0.0).astype(jnp.int32), {}

        return act

    agent.policy = policy
    try:
        after, logs = lox.spool(agent.evaluate)(KEY, state, num_episodes=2)
    finally:
        del agent.policy
    np.testing.assert_array_equal(logs["returned_episode_returns"], 1.0)
    assert_equal(after, state)


def learns_the_same_in_other_units(make: Make) -> None:
    """In which units observations and rewards come makes no difference to what is learned."""

    def learn(env: Any) -> tuple[Any, Any]:
        agent = make(env, **BOTH)
        begin = agent.init(KEY)
        return begin.learner, agent.train(KEY, begin, enough(agent)).learner

    def distance(x: Any, y: Any) -> float:
        pairs = zip(*map(jax.tree.leaves, (x, y)), strict=True)
        return float(np.max([jnp.abs(x - y).max() for x, y in pairs]))

    begin, learned = learn(Scaled())
    moved = distance(begin, learned)
    assert moved > 1e-3
    assert distance(learned, learn(Scaled(200.0, 0.02))[1]) < 1e-2 * moved


def does_not_depend_on_how_it_is_cut_and_saved(make: Make, folder: Path) -> None:
    """Training that is saved halfway, and goes on from the checkpoint, equals training in one go, bit for bit."""
    agent = make(Scaled(), **BOTH)
    key, n = jax.random.key(1), enough(agent)
    state = agent.init(KEY)
    whole = agent.train(key, state, 2 * n)
    half = agent.train(key, state, n)
    writer = checkpoint.CheckpointWriter(folder)
    writer.save(n, half)
    writer.close()
    restored = checkpoint.restore(checkpoint.complete(folder)[-1], jax.eval_shape(agent.init, KEY))
    assert_equal(restored.scales, half.scales)
    assert not np.array_equal(half.scales.observations.mean[0], whole.scales.observations.mean[0])
    assert_equal(whole, agent.train(key, jax.tree.map(jnp.asarray, restored), n))
