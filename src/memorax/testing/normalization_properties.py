"""What must hold for every algorithm that normalizes: its statistics are part of the run, and all use the same ones.

Each property takes what makes an agent, `make_agent(env, **config)`, and raises AssertionError where it does not hold.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from memorax import lox
from memorax.testing.comparison import require, same
from memorax.testing.probe_environments import Clock, PaysActions, Scaled

NORMALIZED = {"normalize_observations": True, "normalize_rewards": True, "gamma": 0.5}


def enough_steps(agent: Any) -> int:
    """Give the transitions of two updates at least, and of more than an episode of every environment."""
    one = agent.steps_per_update
    return one * max(2, -(-7 * agent.config.num_envs // one))


def keeps_statistics_of_everything_seen(make_agent: Callable[..., Any]) -> None:
    """One set of statistics for all environments: of every observation, and of every return so far in its episode."""
    key, length = jax.random.key(0), 3
    agent = make_agent(Clock("truncated", length, length), **NORMALIZED)
    state = agent.train(key, agent.init(key), enough_steps(agent))
    # Whatever is done, every environment shows the time and pays 1.
    times = np.arange(int(state.step) // agent.config.num_envs + 1) % length
    seen = {
        "observations": (times, state.loop.timestep.observation),
        "returns": (np.array([1.0, 1.5, 1.75])[times[:-1]], state.loop.timestep.reward),
    }
    for name, (values, example) in seen.items():
        statistics, samples = getattr(state.scales, name), np.repeat(values, agent.config.num_envs)
        require(statistics.count == samples.size, f"`{name}` must count {samples.size}, got {statistics.count}")
        for kept, expected in ((statistics.mean, samples.mean()), (statistics.variance, samples.var(ddof=1))):
            (number,) = jax.tree.leaves(kept)
            shape = example.shape[1:]
            require(number.shape == shape, f"statistics of `{name}` must have shape {shape}, got {number.shape}")
            np.testing.assert_allclose(number, np.full(number.shape, expected), rtol=1e-4)


def evaluates_by_statistics_that_stay(make_agent: Callable[..., Any]) -> None:
    """Evaluation normalizes by the run's statistics and does not update them."""
    key = jax.random.key(0)
    agent = make_agent(PaysActions("truncated", 3, 3), **NORMALIZED)
    state = agent.init(key)
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
        after, logs = lox.spool(agent.evaluate)(key, state, num_episodes=2)
    finally:
        del agent.policy
    np.testing.assert_array_equal(logs["returned_episode_returns"], 1.0)
    same(after, state, "the state after `evaluate`")


def learns_the_same_in_other_units(make_agent: Callable[..., Any]) -> None:
    """Units of observations and rewards make no difference to what is learned; networks must not see the reward."""
    key = jax.random.key(0)

    def learn(env: Any) -> tuple[Any, Any]:
        agent = make_agent(env, **NORMALIZED)
        start = agent.init(key)
        return start.learner, agent.train(key, start, enough_steps(agent)).learner

    def distance(x: Any, y: Any) -> float:
        pairs = zip(*map(jax.tree.leaves, (x, y)), strict=True)
        return float(np.max([jnp.abs(x - y).max() for x, y in pairs]))

    start, learned = learn(Scaled())
    moved = distance(start, learned)
    require(moved > 1e-3, f"training must change what is learned, got a change of {moved:.2g}")
    off = distance(learned, learn(Scaled(200.0, 0.02))[1])
    require(off < 1e-2 * moved, f"in other units {off:.2g} differs, training changed {moved:.2g}")


PROPERTIES = [keeps_statistics_of_everything_seen, evaluates_by_statistics_that_stay]
"""What holds for every algorithm with a `NormalizationConfig`."""
