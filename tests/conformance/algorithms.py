"""What must hold for every algorithm: promises P4, P6 and P7, and finite numbers whatever the episodes do.

Each property takes an agent and raises AssertionError where it does not hold.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from memorax import lox


def assert_equal(a: Any, b: Any) -> None:
    jax.tree.map(np.testing.assert_array_equal, a, b)


def avals(tree: Any) -> Any:
    return jax.tree.map(lambda x: (x.shape, x.dtype, x.weak_type), tree)


def keeps_its_types(agent: Any) -> None:
    """P6: `train`, `evaluate` and `rollout` map the state to the same shapes and types; it holds arrays only."""
    key = jax.random.key(0)
    state = agent.init(key)
    leaves = jax.tree.leaves(state)
    assert all(isinstance(x, jax.Array) and not x.weak_type for x in leaves)
    assert not any(jnp.issubdtype(x.dtype, jax.dtypes.prng_key) for x in leaves)
    assert avals(agent.train(key, state, agent.steps_per_update)) == avals(state)
    assert avals(agent.rollout(key, state, 2)[0]) == avals(state)


def does_not_depend_on_how_it_is_cut(agent: Any) -> None:
    """P6: one call of `2n` steps equals two of `n`, bit for bit."""
    key, n = jax.random.key(1), 2 * agent.steps_per_update
    state = agent.init(jax.random.key(0))
    whole = agent.train(key, state, 2 * n)
    half = agent.train(key, state, n)
    assert not np.array_equal(jax.tree.leaves(half.learner)[0], jax.tree.leaves(whole.learner)[0])
    assert_equal(whole, agent.train(key, half, n))


def counts_its_steps(agent: Any) -> None:
    key, n = jax.random.key(1), agent.steps_per_update
    state = agent.train(key, agent.init(key), 2 * n + 1)
    assert state.step == 2 * n
    assert state.step.dtype == jnp.uint32


def is_repeatable(agent: Any) -> None:
    """The same keys give the same bits, other keys others."""
    n = agent.steps_per_update
    state = agent.init(jax.random.key(0))
    first = agent.train(jax.random.key(1), state, n)
    assert_equal(first, agent.train(jax.random.key(1), agent.init(jax.random.key(0)), n))
    other = agent.train(jax.random.key(2), state, n)
    assert not all(np.array_equal(a, b) for a, b in zip(*map(jax.tree.leaves, (first, other)), strict=True))


def maps_over_seeds(agent: Any) -> None:
    """P6: seeds side by side equal seeds one after the other, up to the order of sums."""
    keys, n = jax.random.split(jax.random.key(0), 3), 2 * agent.steps_per_update
    states = jax.vmap(agent.init)(keys)
    together, logs = jax.vmap(lox.spool(agent.train), in_axes=(0, 0, None))(keys, states, n)
    for i, key in enumerate(keys):
        state, own_logs = lox.spool(agent.train)(key, agent.init(key), num_steps=n)
        alone, mine = (state.learner, own_logs), jax.tree.map(lambda x, i=i: x[i], (together.learner, logs))
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=2e-3, atol=2e-4), mine, alone)


def is_not_disturbed_by_evaluation(agent: Any) -> None:
    """P7: `evaluate` returns the state as it was."""
    key = jax.random.key(1)
    state = agent.train(key, agent.init(key), agent.steps_per_update)
    assert_equal(agent.evaluate(key, state, num_steps=7), state)
    assert_equal(agent.evaluate(key, state, num_episodes=3), state)


def evaluates_whole_episodes(agent: Any) -> None:
    key = jax.random.key(1)
    state = agent.init(key)
    _, logs = lox.spool(agent.evaluate)(key, state, num_episodes=5)
    assert logs["returned_episode"].shape == (1, 5)
    assert logs["returned_episode"].all()
    assert (logs["returned_episode_lengths"] >= 1).all()
    _, logs = lox.spool(agent.evaluate)(key, state, num_steps=4)
    assert logs["returned_episode_returns"].shape == (4, agent.config.num_envs)


def logs_episodes_and_losses(agent: Any) -> None:
    """Episodes once per step of the environments, losses once per update; every number is finite."""
    key, updates = jax.random.key(1), 2
    num_envs = agent.config.num_envs
    _, logs = lox.spool(agent.train)(key, agent.init(key), num_steps=updates * agent.steps_per_update)
    steps = updates * agent.steps_per_update // num_envs
    for name in ("returned_episode", "returned_episode_returns", "returned_episode_lengths"):
        assert logs.pop(name).shape == (steps, num_envs), name
    assert logs
    for name, values in logs.items():
        assert name.startswith("losses/")
        assert values.shape[0] == updates, name
        assert np.isfinite(values).all(), name


def compiles_once(agent: Any) -> None:
    """P6: further calls of `train` with the same number of steps trace nothing."""
    key, n = jax.random.key(1), agent.steps_per_update
    traces = []
    step = agent.vector_env.env.step
    agent.vector_env.env.step = lambda *args: traces.append(1) or step(*args)
    try:
        state = agent.train(key, agent.init(key), 3 * n)
        before = len(traces)
        assert before > 0
        for _ in range(2):
            state = agent.train(key, state, 3 * n)
        assert len(traces) == before
    finally:
        del agent.vector_env.env.step


def stays_finite(make: Callable[[Any], Any], env: Any) -> None:
    """Whatever way the episodes end, no number becomes NaN or infinite."""
    agent = make(env)
    key = jax.random.key(0)
    state = agent.train(key, agent.init(key), 3 * agent.steps_per_update)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(state.learner))


PROPERTIES = [
    keeps_its_types,
    does_not_depend_on_how_it_is_cut,
    counts_its_steps,
    is_repeatable,
    maps_over_seeds,
    is_not_disturbed_by_evaluation,
    evaluates_whole_episodes,
    logs_episodes_and_losses,
    compiles_once,
]
