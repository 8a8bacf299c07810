"""Returns: lambda-returns (for GAE and Q(lambda)) and n-step returns, with termination and truncation.

Everything the library knows about terminated, truncated and unfinished episodes is in this file. A sequence of `T`
steps comes with `T + 1` values: `values[:, t]` is the value of observation `t`, and the last one, the value of the
observation after the sequence, bootstraps it.
"""

import jax
import jax.numpy as jnp

from memorax.core.types import Array, Transition


def episode_ends(trajectory: Transition, gamma: float) -> tuple[Array, Array, Array]:
    """Turn termination and truncation into the rewards and discounts that returns are computed from.

    After a terminated step the return is zero. After a truncated step it is not, but the following steps are missing:
    if the value of the final observation was recorded while acting (`aux["bootstrap"]`, on-policy algorithms), it is
    added to the reward, discounted, and the return ends there; if not (replay), the step is marked as truncated. A step
    with both flags counts as terminated.

    Args:
        trajectory: Transitions, `[batch, time]`.
        gamma: Discount factor per step, in `[0, 1]`.

    Returns:
        Rewards, discounts and flags of truncated steps without a bootstrap value, each `[batch, time]`. Such a step has
        no valid target and must have weight zero in a loss.

    Source:
        Pardo et al. 2018, "Time Limits in Reinforcement Learning", https://arxiv.org/abs/1712.00378.
    """
    truncated = trajectory.truncated & ~trajectory.terminated
    bootstrap = trajectory.aux.get("bootstrap")
    if bootstrap is None:
        return trajectory.reward, gamma * (1.0 - trajectory.terminated), truncated
    reward = trajectory.reward + gamma * jnp.where(truncated, bootstrap, 0.0)
    return reward, gamma * (1.0 - trajectory.done), jnp.zeros_like(truncated)


def lambda_returns(reward: Array, discount: Array, truncated: Array, values: Array, lam: float) -> Array:
    """Compute lambda-returns: TD(lambda) targets, from which GAE and Peng's Q(lambda) follow.

    `G_t = r_t + discount_t ((1 - lam) v_{t+1} + lam G_{t+1})`, with `G_T = v_T`. With state values,
    `G_t - v_t` is the generalized advantage estimate (GAE); with `v = max_a Q`, `G_t` is Peng's Q(lambda). A truncated
    step has `G_t = v_t`: its TD error is zero, and the steps before it bootstrap from its value.

    Args:
        reward: Rewards, `[batch, time]`.
        discount: Discount factor after each step, zero where the episode terminated, `[batch, time]`.
        truncated: True where the episode was truncated and what follows is not available, `[batch, time]`; not where a
            recorded bootstrap value was added to the reward.
        values: Values of all observations and of the one after the sequence, `[batch, time + 1]`.
        lam: Lambda, in `[0, 1]`: 0 gives one-step TD targets, 1 Monte Carlo returns.

    Returns:
        Target values, `[batch, time]`.

    Source:
        Schulman et al. 2016, "High-Dimensional Continuous Control Using Generalized Advantage Estimation",
        https://arxiv.org/abs/1506.02438; Peng and Williams 1996, "Incremental Multi-Step Q-Learning".
    """

    def step(following: Array, inputs: tuple[Array, ...]) -> tuple[Array, Array]:
        reward_t, discount_t, truncated_t, value, next_value = inputs
        target = reward_t + discount_t * ((1.0 - lam) * next_value + lam * following)
        target = jnp.where(truncated_t, value, target)
        return target, target

    time_major = [jnp.swapaxes(x, 0, 1) for x in (reward, discount, truncated, values[:, :-1], values[:, 1:])]
    _, targets = jax.lax.scan(step, values[:, -1], tuple(time_major), reverse=True)
    return jnp.swapaxes(targets, 0, 1)


def n_step_returns(reward: Array, discount: Array, truncated: Array, values: Array, n: int) -> Array:
    """Compute n-step returns: the sum of `n` discounted rewards, then bootstrap from the value of what follows.

    Where an episode terminates, is truncated, or the sequence ends within `n` steps, the return uses the rewards up to
    there, so every step has a target.

    Args:
        reward: Rewards, `[batch, time]`.
        discount: Discount factor after each step, zero where the episode terminated, `[batch, time]`.
        truncated: True where the episode was truncated and what follows is not available, `[batch, time]`; not where a
            recorded bootstrap value was added to the reward.
        values: Values of all observations and of the one after the sequence, `[batch, time + 1]`.
        n: Number of rewards, at least 1.

    Returns:
        Target values, `[batch, time]`.

    Raises:
        ValueError: `n` is below 1.

    Source:
        Sutton 1988, "Learning to Predict by the Methods of Temporal Differences".
    """
    if n < 1:
        raise ValueError(f"`n` must be at least 1, got {n}")
    last = values[:, -1:]
    targets = values
    for _ in range(n):
        following = jnp.where(truncated, values[:, :-1], reward + discount * targets[:, 1:])
        targets = jnp.concatenate([following, last], axis=1)
    return targets[:, :-1]
