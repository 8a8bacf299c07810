"""Returns. Everything the library knows about terminated, truncated and unfinished episodes is in this file.

A sequence of `T` steps comes with `T + 1` values: `values[:, t]` belongs to what the agent saw at step `t`, the last
one to what it sees after the sequence.
"""

import jax
import jax.numpy as jnp

from memorax.core.types import Array, Transition


def episode_ends(trajectory: Transition, gamma: float) -> tuple[Array, Array, Array]:
    """Say how the return goes on after each step.

    An episode that terminated is worth nothing more. One that was truncated goes on out of sight: where the value of
    its final observation was recorded while acting (`aux["bootstrap"]`), it is folded into the reward and the return
    ends there; where it was not, the step is cut out of the return. A step with both flags terminated.

    Args:
        trajectory: Steps, `[batch, time]`.
        gamma: Discount per step, `[0, 1]`.

    Returns:
        Reward, discount and cut flags, each `[batch, time]`; a step that is cut has no target of its own, and must
        weigh nothing in a loss.
    """
    truncated = trajectory.truncated & ~trajectory.terminated
    bootstrap = trajectory.aux.get("bootstrap")
    if bootstrap is None:
        return trajectory.reward, gamma * (1.0 - trajectory.terminated), truncated
    reward = trajectory.reward + gamma * jnp.where(truncated, bootstrap, 0.0)
    return reward, gamma * (1.0 - trajectory.done), jnp.zeros_like(truncated)


def lambda_returns(reward: Array, discount: Array, cut: Array, values: Array, lam: float) -> Array:
    """Mix the n-step returns of all n geometrically.

    `G_t = r_t + discount_t ((1 - lam) v_{t+1} + lam G_{t+1})`, with `G_T = v_T`; a cut step has `G_t = v_t`, so its
    error is zero and the steps before it bootstrap from its value. With state values, `G_t - v_t` is the generalized
    advantage estimate; with `v = max_a Q`, `G_t` is Peng's Q(lambda).

    Args:
        reward: `[batch, time]`.
        discount: Discount after each step, zero where the episode terminated, `[batch, time]`.
        cut: True where what follows is hidden, `[batch, time]`.
        values: `[batch, time + 1]`.
        lam: Weight of longer returns, `[0, 1]`: 0 looks one step ahead, 1 to the end.

    Returns:
        Targets, `[batch, time]`.

    Source:
        Schulman et al. 2016, "High-Dimensional Continuous Control Using Generalized Advantage Estimation";
        Peng and Williams 1996, "Incremental Multi-Step Q-Learning".
    """

    def step(following: Array, inputs: tuple[Array, ...]) -> tuple[Array, Array]:
        reward_t, discount_t, cut_t, value, next_value = inputs
        target = reward_t + discount_t * ((1.0 - lam) * next_value + lam * following)
        target = jnp.where(cut_t, value, target)
        return target, target

    time_major = [jnp.swapaxes(x, 0, 1) for x in (reward, discount, cut, values[:, :-1], values[:, 1:])]
    _, targets = jax.lax.scan(step, values[:, -1], tuple(time_major), reverse=True)
    return jnp.swapaxes(targets, 0, 1)


def n_step_returns(reward: Array, discount: Array, cut: Array, values: Array, n: int) -> Array:
    """Sum `n` discounted rewards and bootstrap from the value behind them.

    Near an end (terminal, cut, or the end of the sequence) a return uses as many rewards as there are, so every step
    has a target.

    Args:
        reward: `[batch, time]`.
        discount: Discount after each step, zero where the episode terminated, `[batch, time]`.
        cut: True where what follows is hidden, `[batch, time]`.
        values: `[batch, time + 1]`.
        n: Number of rewards, at least 1.

    Returns:
        Targets, `[batch, time]`.

    Raises:
        ValueError: `n` is below 1.
    """
    if n < 1:
        raise ValueError(f"`n` must be at least 1, got {n}")
    last = values[:, -1:]
    targets = values
    for _ in range(n):
        following = jnp.where(cut, values[:, :-1], reward + discount * targets[:, 1:])
        targets = jnp.concatenate([following, last], axis=1)
    return targets[:, :-1]
