"""P4: what is learned from is what was done. The property that catches almost every mistake with sequences."""

from typing import Any

import jax
import numpy as np

from memorax import lox


def replays_what_it_did(agent: Any) -> None:
    """Log-probabilities and values of a rollout, computed again as one sequence, equal those recorded while acting."""
    key = jax.random.key(3)
    # A rollout before, so that the sequence begins in the middle of episodes, with a memory that is not fresh.
    state, _ = agent.rollout(key, agent.init(key), 5)
    after, steps = agent.rollout(key, state, 13)
    assert 0 < steps.inputs.done[:, 1:].sum() < steps.inputs.done[:, 1:].size
    carry, (distribution, value) = jax.jit(agent.networks.unroll)(state.learner.params, steps.inputs, state.loop.carry)
    np.testing.assert_allclose(np.exp(distribution.log_prob(steps.action) - steps.aux["log_prob"]), 1.0, atol=1e-5)
    np.testing.assert_allclose(value, steps.aux["value"], atol=1e-5)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-5), carry, after.loop.carry)


def begins_with_a_ratio_of_one(agent: Any) -> None:
    """Before the first gradient step the new policy is the old one. The agent has one epoch of one minibatch."""
    key = jax.random.key(4)
    state, _ = agent.rollout(key, agent.init(key), 5)
    _, logs = lox.spool(agent.train)(key, state, num_steps=agent.steps_per_update)
    # The estimate of the divergence is half the mean squared deviation of the ratio from one.
    np.testing.assert_allclose(logs["losses/kl"], 0.0, atol=0.5 * 1e-5**2 + 1e-12)
    np.testing.assert_array_equal(logs["losses/clip_fraction"], 0.0)


def values_a_truncated_episode_with_its_own_memory(agent: Any) -> None:
    """The bootstrap of a truncated episode is the value of that episode's observations with the final one appended."""
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
    """P5: in an endless task that pays 1 per step and is cut by a clock, the value tends to `1 / (1 - gamma)`."""
    expected = 1 / (1 - agent.config.gamma)
    key = jax.random.key(6)
    state = agent.train(key, agent.init(key), 120 * agent.steps_per_update)
    _, steps = agent.rollout(key, state, 20)
    assert steps.truncated.any()
    np.testing.assert_allclose(steps.aux["value"].mean(), expected, rtol=0.1)
