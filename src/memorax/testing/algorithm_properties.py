"""What must hold for every algorithm. Each property takes an agent and raises AssertionError where it does not hold."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from memorax import lox
from memorax.core.step_count import StepCount
from memorax.learning.values import as_scalars, main_values
from memorax.testing.comparison import require, same


def types(tree: Any) -> Any:
    """Give shape, dtype and weak type of every leaf."""
    return jax.tree.map(lambda x: (x.shape, x.dtype, x.weak_type), tree)


def equal(a: Any, b: Any) -> bool:
    """Whether every leaf has the same numbers."""
    return all(np.array_equal(x, y) for x, y in zip(*map(jax.tree.leaves, (a, b)), strict=True))


def keeps_its_types(agent: Any) -> None:
    """`train` and `rollout` map the state to the same shapes and dtypes, and it holds arrays only."""
    key = jax.random.key(0)
    state = agent.init(key)
    leaves = jax.tree.leaves(state)
    require(all(isinstance(x, jax.Array) for x in leaves), "the state must hold arrays only")
    require(not any(x.weak_type for x in leaves), "the state must not hold weakly typed arrays")
    keys = any(jnp.issubdtype(x.dtype, jax.dtypes.prng_key) for x in leaves)
    require(not keys, "the state must not hold random keys")
    trained = agent.train(key, state, agent.steps_per_update)
    require(types(trained) == types(state), "`train` must keep shapes and dtypes of the state")
    require(
        types(agent.rollout(key, state, 2)[0]) == types(state), "`rollout` must keep shapes and dtypes of the state"
    )


def does_not_depend_on_how_it_is_split(agent: Any) -> None:
    """One call of `2n` steps equals two of `n`, bit for bit."""
    key, n = jax.random.key(1), 2 * agent.steps_per_update
    state = agent.init(jax.random.key(0))
    whole = agent.train(key, state, 2 * n)
    half = agent.train(key, state, n)
    first, last = jax.tree.leaves(half.learner)[0], jax.tree.leaves(whole.learner)[0]
    require(not np.array_equal(first, last), "training must change what is learned")
    same(agent.train(key, half, n), whole, "two calls of n steps and one of 2n")


def counts_its_steps(agent: Any) -> None:
    """`state.step` counts the transitions of whole updates, beyond 2^32 too, and no random numbers come again."""
    key, n = jax.random.key(1), agent.steps_per_update
    start = agent.init(key)
    early = agent.train(key, start, 2 * n + 1)
    require(early.step == 2 * n, f"`state.step` must be {2 * n} after two updates, got {early.step}")
    state, late = (
        agent.train(key, dataclasses.replace(start, step=StepCount.of(step)), 2 * n + 1) for step in (2**32 - n, 2**32)
    )
    require(state.step == 2**32 + n, f"`state.step` must be 2^32 + {n}, got {state.step}")
    require(not equal(late.loop, early.loop), "what happens at step 2^32 must differ from what happened at step 0")


def is_repeatable(agent: Any) -> None:
    """The same keys give the same bits, other keys others."""
    n = agent.steps_per_update
    state = agent.init(jax.random.key(0))
    first = agent.train(jax.random.key(1), state, n)
    again = agent.train(jax.random.key(1), agent.init(jax.random.key(0)), n)
    same(again, first, "training again with the same keys")
    other = agent.train(jax.random.key(2), state, n)
    require(not equal(first, other), "training with another key must give another result")


def maps_over_seeds(agent: Any) -> None:
    """Seeds in one `vmap` equal seeds one after the other, up to the order of sums."""
    keys, n = jax.random.split(jax.random.key(0), 3), 2 * agent.steps_per_update
    states = jax.vmap(agent.init)(keys)
    together, logs = jax.vmap(lox.spool(agent.train), in_axes=(0, 0, None))(keys, states, n)
    for i, key in enumerate(keys):
        state, own_logs = lox.spool(agent.train)(key, agent.init(key), num_steps=n)
        alone, mine = (state.learner, own_logs), jax.tree.map(lambda x, i=i: x[i], (together.learner, logs))
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=2e-3, atol=2e-4), mine, alone)


def is_not_disturbed_by_evaluation(agent: Any) -> None:
    """`evaluate` returns the state unchanged."""
    key = jax.random.key(1)
    state = agent.train(key, agent.init(key), agent.steps_per_update)
    same(agent.evaluate(key, state, num_steps=7), state, "the state after `evaluate(num_steps=7)`")
    same(agent.evaluate(key, state, num_episodes=3), state, "the state after `evaluate(num_episodes=3)`")


def evaluates_whole_episodes(agent: Any) -> None:
    """`evaluate` logs each of `num_episodes` episodes, or each of `num_steps` steps."""
    key = jax.random.key(1)
    state = agent.init(key)
    _, logs = lox.spool(agent.evaluate)(key, state, num_episodes=5)
    ended = logs["returned_episode"]
    require(ended.shape == (1, 5), f"five episodes must be logged at once, [1, 5], got {ended.shape}")
    require(ended.all(), "each of the five episodes must have ended")
    require((logs["returned_episode_lengths"] >= 1).all(), "each episode must have a step")
    _, logs = lox.spool(agent.evaluate)(key, state, num_steps=4)
    shape = (4, agent.config.num_envs)
    got = logs["returned_episode_returns"].shape
    require(got == shape, f"returns must be logged for each step, {shape}, got {got}")


def logs_episodes_and_losses(agent: Any) -> None:
    """Episodes are logged once per step of the environments, losses once per update; every number is finite."""
    key, updates = jax.random.key(1), 2
    num_envs = agent.config.num_envs
    _, logs = lox.spool(agent.train)(key, agent.init(key), num_steps=updates * agent.steps_per_update)
    shape = (updates * agent.steps_per_update // num_envs, num_envs)
    for name in ("returned_episode", "returned_episode_returns", "returned_episode_lengths"):
        got = logs.pop(name).shape
        require(got == shape, f"`{name}` must be logged for each step, {shape}, got {got}")
    require(logs, "losses must be logged")
    for name, values in logs.items():
        require(name.startswith("losses/"), f"losses must be logged under `losses/`, got `{name}`")
        require(values.shape[0] == updates, f"`{name}` must be logged once per update, got {values.shape[0]}")
        require(np.isfinite(values).all(), f"`{name}` must be finite, got {values}")


def compiles_once(agent: Any) -> None:
    """Further calls of `train` with the same number of steps trace nothing."""
    key, n = jax.random.key(1), agent.steps_per_update
    traces = []
    step = agent.vector_env.env.step
    agent.vector_env.env.step = lambda *args: traces.append(1) or step(*args)
    try:
        state = agent.train(key, agent.init(key), 3 * n)
        before = len(traces)
        require(before > 0, "training must step the environments")
        for _ in range(2):
            state = agent.train(key, state, 3 * n)
        require(len(traces) == before, "a second call of `train` must not trace the program again")
    finally:
        del agent.vector_env.env.step


def replays_what_it_did(agent: Any) -> None:
    """Log-probabilities and values of a rollout, computed again as one sequence, equal those recorded while acting.

    Agents that record neither `log_prob` and `value` nor `q` have nothing to compare.
    """
    key = jax.random.key(3)
    # A rollout before, so that the sequence begins in the middle of episodes, with a memory that is not fresh.
    state, _ = agent.rollout(key, agent.init(key), 5)
    after, steps = agent.rollout(key, state, 13)
    starts = steps.inputs.is_first[:, 1:]
    require(0 < starts.sum() < starts.size, "some episodes, but not all steps, must begin inside of the sequence")
    recorded = {name: steps.aux[name] for name in ("log_prob", "value", "q") if name in steps.aux}
    params = getattr(state.learner, "params", None)
    if params is None and hasattr(state.learner, "online"):
        params = state.learner.online.params
    if params is None or not recorded or not hasattr(agent.networks, "unroll"):
        return
    carry, outputs = jax.jit(agent.networks.unroll)(params, steps.inputs, state.loop.carry)
    if "q" in recorded:
        np.testing.assert_allclose(main_values(as_scalars(outputs)), main_values(recorded["q"]), atol=1e-5)
    else:
        distribution, value = outputs[:2]
        ratio = np.exp(distribution.log_prob(steps.action) - recorded["log_prob"])
        np.testing.assert_allclose(ratio, 1.0, atol=1e-5, err_msg="probability ratio")
        np.testing.assert_allclose(main_values(as_scalars(value)), main_values(recorded["value"]), atol=1e-5)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-5), carry, after.loop.carry)


def begins_with_a_ratio_of_one(agent: Any) -> None:
    """Before the first gradient step the new policy is the old one; for a PPO of one epoch and one minibatch."""
    key = jax.random.key(4)
    state, _ = agent.rollout(key, agent.init(key), 5)
    _, logs = lox.spool(agent.train)(key, state, num_steps=agent.steps_per_update)
    # The estimate of the divergence is half the mean squared deviation of the ratio from one.
    np.testing.assert_allclose(logs["losses/kl"], 0.0, atol=0.5 * 1e-5**2 + 1e-12)
    np.testing.assert_array_equal(logs["losses/clip_fraction"], 0.0)


def values_a_truncated_episode_with_its_own_memory(agent: Any) -> None:
    """The bootstrap of a truncated episode of a `Clock` is the value of its observations and the final one."""
    key = jax.random.key(5)
    state = agent.init(key)
    _, steps = agent.rollout(key, state, 11)
    row, t = (int(i[0]) for i in np.nonzero(np.asarray(steps.truncated)))
    inputs = jax.tree.map(lambda x: x[row : row + 1, : t + 1], steps.inputs)
    last = jax.tree.map(lambda x: x[row : row + 1, t : t + 1], steps)
    # The probe's observation is the time, so its final observation is one more than the last.
    final = inputs.replace(
        observation=last.observation + 1.0, action=last.action, reward=last.reward, done=np.zeros((1, 1), bool)
    )
    carry = jax.tree.map(lambda x: x[row : row + 1], state.loop.carry)
    carry, _ = agent.networks.unroll(state.learner.params, inputs, carry)
    _, (_, value) = agent.networks.unroll(state.learner.params, final, carry)
    np.testing.assert_allclose(value[0, 0], steps.aux["bootstrap"][row, t], atol=1e-5)


def knows_that_a_truncated_episode_goes_on(agent: Any) -> None:
    """In an endless task that pays 1 per step and is truncated, the value tends to `1 / (1 - gamma)`."""
    key = jax.random.key(6)
    state = agent.train(key, agent.init(key), 120 * agent.steps_per_update)
    _, steps = agent.rollout(key, state, 20)
    require(steps.truncated.any(), "episodes must be truncated")
    np.testing.assert_allclose(steps.aux["value"].mean(), 1 / (1 - agent.config.gamma), rtol=0.1)


def stays_finite(make_agent: Callable[..., Any], env: Any) -> None:
    """Whichever way episodes end, no number becomes NaN or infinite; takes what makes an agent for an environment."""
    agent = make_agent(env)
    key = jax.random.key(0)
    state = agent.train(key, agent.init(key), 3 * agent.steps_per_update)
    finite = all(np.isfinite(x).all() for x in jax.tree.leaves(state.learner))
    require(finite, "what is learned must stay finite")


PROPERTIES = [
    keeps_its_types,
    does_not_depend_on_how_it_is_split,
    counts_its_steps,
    is_repeatable,
    maps_over_seeds,
    is_not_disturbed_by_evaluation,
    evaluates_whole_episodes,
    logs_episodes_and_losses,
    compiles_once,
]
"""What holds for every agent, in any environment with short episodes."""
