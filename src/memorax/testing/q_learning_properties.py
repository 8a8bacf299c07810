"""What must hold for algorithms that learn the values of actions from a replay buffer, as `DQN` does.

They have `networks`, a `QFunction`, and `loss(params, target_params, batch, carry, importance)`.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from memorax.core.types import Array, Carry, Key
from memorax.learning.values import expected_values
from memorax.testing.comparison import require


class CountingCell(nn.Module):
    """A cell that counts the inputs since its memory was cleared."""

    @nn.nowrap
    def initialize_carry(self, key: Key, input_shape: tuple[int, ...]) -> Carry:
        """Start at zero."""
        return jnp.zeros((input_shape[0], 1))

    def __call__(self, carry: Carry, inputs: Array) -> tuple[Carry, Array]:
        """Count one input."""
        return carry + 1, carry + 1


class CountingHead(nn.Module):
    """A head that values every action by what the torso counted."""

    action_dim: int = 3

    @nn.compact
    def __call__(self, features: Array) -> Array:
        """Give the count for every action."""
        # A parameter that changes nothing: there is always something to learn.
        weight = self.param("weight", nn.initializers.zeros, ())
        return jnp.broadcast_to(features + weight, (*features.shape[:-1], self.action_dim))


def replayed(agent: Any, num_steps: int) -> tuple[Any, Any, Any]:
    """Give parameters, a sample of the transitions of random actions, and the memory at its start, in one program."""

    @jax.jit
    def sample(key: Key) -> tuple[Any, Any, Any]:
        state = agent.warmup(key, agent.init(key), num_steps)
        batch = agent.buffer.sample(state.buffer, key).experience
        return state.learner.online.params, batch, agent.networks.replayed_carry(key, batch)

    return sample(jax.random.key(3))


def replays_what_it_did(agent: Any) -> None:
    """Values of stored sequences, computed from the stored memories, are those recorded while acting.

    The agent stores what its policy recorded: its `record` keeps `aux`.
    """
    params, batch, carry = replayed(agent, 40)
    require(batch.inputs.is_first[:, 1:].any(), "some episodes must begin inside of sequences")
    if batch.carry is not None and agent.recurrent:
        inside = ~np.asarray(batch.inputs.is_first[:, 0])
        remembers = any(np.asarray(x)[inside].any() for x in jax.tree.leaves(carry))
        require(remembers, "some sequences must begin in the middle of an episode, with a memory")
    _, output = jax.jit(agent.networks.unroll)(params, batch.inputs, carry)
    np.testing.assert_allclose(expected_values(output), batch.aux["q"], atol=1e-5)


def counts_one_more_at_the_successor(agent: Any) -> None:
    """The successor of a step is the next column of the same unroll: it has seen one input more.

    The agent has a `CountingCell` and a `CountingHead`, in a `Clock` that never ends, and does not discount.
    """
    params, batch, carry = replayed(agent, 40)
    _, (metrics, _) = jax.jit(agent.loss)(params, params, batch, carry, jnp.ones(len(batch.reward)))
    # A reward of 1, and a successor that counts one more.
    np.testing.assert_allclose(metrics["td_error"], 2.0, rtol=1e-6)


def bootstraps_as_defined(agent: Any, scale: Callable = lambda x: x, unscale: Callable = lambda x: x) -> None:
    """The loss is that of n-step returns, computed one step at a time; in an environment such as `MixedEnds`."""
    config, k = agent.config, agent.config.burn_in_length
    online, batch, carry = replayed(agent, 80)
    target_params = jax.tree.map(lambda x: -2.0 * x, online)
    importance = jnp.asarray([1.0, 0.5, 0.25, 2.0])

    @jax.jit
    def compute(online: Any, target_params: Any) -> tuple[Any, list[Any]]:
        values = [agent.networks.unroll(p, batch.inputs, carry, k)[1] for p in (online, target_params)]
        return agent.loss(online, target_params, batch, carry, importance), values

    (loss, (metrics, priorities)), values = compute(online, target_params)
    q, target_q = (np.asarray(x) for x in values)
    best = (q if config.double else target_q).argmax(-1)
    require((q.argmax(-1) != target_q.argmax(-1)).any(), "the two networks must prefer different actions somewhere")
    following = unscale(np.take_along_axis(target_q, best[..., None], -1)[..., 0])
    errors = _n_step_errors(config, jax.tree.map(lambda x: np.asarray(x)[:, k:], _bare(batch)), q, following, scale)
    weighted = 0.5 * np.square(errors) * np.asarray(importance)[:, None]
    np.testing.assert_allclose(loss, np.nanmean(weighted), rtol=1e-3)
    np.testing.assert_allclose(metrics["td_error"], np.nanmean(np.abs(errors)), rtol=1e-3)
    if priorities is not None:
        size, eta = np.abs(errors), config.priority_eta
        expected = eta * np.nanmax(size, axis=1) + (1.0 - eta) * np.nanmean(size, axis=1)
        np.testing.assert_allclose(priorities, expected, rtol=1e-3)


def _bare(batch: Any) -> Any:
    return {name: getattr(batch, name) for name in ("action", "reward", "terminated", "truncated")}


def _n_step_errors(config: Any, steps: Any, q: np.ndarray, following: np.ndarray, scale: Callable) -> np.ndarray:
    """Compute the TD error of every step that has a target, NaN elsewhere."""
    terminated, truncated = steps["terminated"], steps["truncated"] & ~steps["terminated"]
    last = q.shape[1] - 1
    require(truncated[:, :last].any(), "some episodes must be truncated")
    require(terminated[:, :last].any(), "some episodes must terminate")
    errors = np.full((len(q), last), np.nan)
    for row, t in np.argwhere(~truncated[:, :last]):
        total, factor, u = 0.0, 1.0, t
        while u < min(last, t + config.n_step) and not truncated[row, u]:
            total += factor * steps["reward"][row, u]
            factor *= 0.0 if terminated[row, u] else config.gamma
            u += 1
            if factor == 0.0:
                break
        total += factor * following[row, u]
        errors[row, t] = scale(total) - q[row, t, steps["action"][row, t]]
    return errors


def knows_that_a_truncated_episode_goes_on(agent: Any) -> None:
    """In an endless task that pays 1 per step and is truncated, values tend to `1 / (1 - gamma)`."""
    key = jax.random.key(6)

    @jax.jit
    def run(key: Key) -> Any:
        state = agent.train(key, agent.init(key), 150 * agent.steps_per_update)
        return agent.rollout(key, state, 20)[1]

    steps = run(key)
    require(steps.truncated.any(), "episodes must be truncated")
    np.testing.assert_allclose(steps.aux["q"].max(-1).mean(), 1 / (1 - agent.config.gamma), rtol=0.1)
