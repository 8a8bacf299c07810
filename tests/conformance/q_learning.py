"""What must hold for algorithms that learn the values of actions from a replay."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from tests import example_agents as agents
from tests.probe_environments import Clock

from memorax.learning.values import expected_values
from memorax.networks import RNN


class Counter(nn.Module):
    """A cell that counts the inputs since its memory was cleared."""

    @nn.nowrap
    def initialize_carry(self, key, input_shape):
        return jnp.zeros((input_shape[0], 1))

    def __call__(self, carry, inputs):
        return carry + 1, carry + 1


class Count(nn.Module):
    """A head that values every action by what the torso counted."""

    action_dim: int = 3

    @nn.compact
    def __call__(self, features):
        # A parameter that changes nothing: there is always something to learn.
        weight = self.param("weight", nn.initializers.zeros, ())
        return jnp.broadcast_to(features + weight, (*features.shape[:-1], self.action_dim))


class Mixed(Clock):
    """Episodes of odd lengths are cut, the others end by themselves."""

    def __init__(self) -> None:
        super().__init__("both", min_length=1, max_length=4)

    def step_env(self, key, state, action, params):
        observation, state, reward, terminated, info = super().step_env(key, state, action, params)
        return observation, state, reward, terminated & (state.length % 2 == 0), info


def drawn(agent: Any, num_steps: int) -> tuple[Any, Any, Any]:
    """Parameters, a sample of what random actions led to, and the memory at its start; all in one program."""

    @jax.jit
    def draw(key):
        state = agent.warmup(key, agent.init(key), num_steps)
        batch = agent.buffer.sample(state.buffer, key).experience
        carry = jax.tree.map(lambda x: x[:, 0], batch.carry)
        return state.learner.online.params, batch, agent.initialize_carry(key, 4) if carry is None else carry

    return draw(jax.random.key(3))


def replays_what_it_did(agent: Any) -> None:
    """P4: values of stored sequences, computed from the stored memories, are those recorded while acting.

    The agent keeps what it thought of its actions beside them.
    """
    params, batch, carry = drawn(agent, 40)
    assert batch.inputs.done[:, 1:].sum() > 0
    if batch.carry is not None and agent.recurrent:
        # Some sequences begin in the middle of an episode, with a memory.
        assert any(np.asarray(x)[~np.asarray(batch.inputs.done[:, 0])].any() for x in jax.tree.leaves(carry))
    _, output = jax.jit(agent.networks.unroll)(params, batch.inputs, carry)
    np.testing.assert_allclose(expected_values(output), batch.aux["q"], atol=1e-5)


def counts_one_more_at_the_successor(cls: type, **config: Any) -> None:
    """The successor of a step is the next column of the same unroll: it has seen one input more."""
    options = {"gamma": 1.0, "sequence_length": 6} | config
    agent = agents.dqn(Clock("never"), lambda: RNN(cell=Counter()), head=Count(), cls=cls, **options)
    params, batch, carry = drawn(agent, 40)
    _, (metrics, _) = jax.jit(agent.loss)(params, params, batch, carry, jnp.ones(4))
    # A reward of 1, and a successor that counts one more.
    np.testing.assert_allclose(metrics["td_error"], 2.0, rtol=1e-6)


def bootstraps_as_defined(agent: Any, scale: Any = lambda x: x, unscale: Any = lambda x: x) -> None:
    """The loss is that of n-step returns, computed one step at a time."""
    config, k = agent.config, agent.config.burn_in_length
    online, batch, carry = drawn(agent, 80)
    target_params = jax.tree.map(lambda x: -2.0 * x, online)
    importance = jnp.asarray([1.0, 0.5, 0.25, 2.0])

    @jax.jit
    def compute(online, target_params):
        values = [agent.networks.unroll(p, batch.inputs, carry, k)[1] for p in (online, target_params)]
        return agent.loss(online, target_params, batch, carry, importance), values

    (loss, (metrics, priorities)), values = compute(online, target_params)
    q, target_q = (np.asarray(x) for x in values)
    chooser = q if config.double else target_q
    best = chooser.argmax(-1)
    assert (q.argmax(-1) != target_q.argmax(-1)).any()
    values = unscale(np.take_along_axis(target_q, best[..., None], -1)[..., 0])
    action, reward, terminated, truncated = (
        np.asarray(x)[:, k:] for x in (batch.action, batch.reward, batch.terminated, batch.truncated)
    )
    truncated = truncated & ~terminated
    last = q.shape[1] - 1
    assert truncated[:, :last].any()
    assert terminated[:, :last].any()
    errors = np.full((len(q), last), np.nan)
    for row, t in np.argwhere(~truncated[:, :last]):
        total, factor, u = 0.0, 1.0, t
        while u < min(last, t + config.n_step) and not truncated[row, u]:
            total += factor * reward[row, u]
            factor *= 0.0 if terminated[row, u] else config.gamma
            u += 1
            if factor == 0.0:
                break
        total += factor * values[row, u]
        errors[row, t] = scale(total) - q[row, t, action[row, t]]
    weighted = 0.5 * np.square(errors) * np.asarray(importance)[:, None]
    np.testing.assert_allclose(loss, np.nanmean(weighted), rtol=1e-3)
    np.testing.assert_allclose(metrics["td_error"], np.nanmean(np.abs(errors)), rtol=1e-3)
    if priorities is not None:
        size, eta = np.abs(errors), config.priority_eta
        expected = eta * np.nanmax(size, axis=1) + (1.0 - eta) * np.nanmean(size, axis=1)
        np.testing.assert_allclose(priorities, expected, rtol=1e-3)


def knows_that_a_truncated_episode_goes_on(agent: Any) -> None:
    """P5: in an endless task that pays 1 per step and is cut by a clock, values tend to `1 / (1 - gamma)`."""
    key = jax.random.key(6)

    @jax.jit
    def run(key):
        state = agent.train(key, agent.init(key), 150 * agent.steps_per_update)
        return agent.rollout(key, state, 20)[1]

    steps = run(key)
    assert steps.truncated.any()
    np.testing.assert_allclose(steps.aux["q"].max(-1).mean(), 1 / (1 - agent.config.gamma), rtol=0.1)
