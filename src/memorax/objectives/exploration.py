"""Epsilon-greedy exploration."""

import jax
import jax.numpy as jnp

from memorax.core.types import Array, Key


def epsilon_greedy(key: Key, values: Array, epsilon: Array | float, allowed: Array | None = None) -> Array:
    """Take the greedy action, or with probability `epsilon` an action drawn uniformly from all allowed ones.

    Args:
        key: Random key.
        values: Action values, `[..., actions]`; those of forbidden actions must not be the largest.
        epsilon: Probability of a random action, in `[0, 1]`, of shape `[...]` or a single number.
        allowed: Action mask, True where an action is allowed, `[..., actions]`; None allows all.

    Returns:
        Actions, int32 `[...]`.
    """
    which_key, action_key = jax.random.split(key)
    logits = jnp.zeros(values.shape) if allowed is None else jnp.where(allowed, 0.0, -jnp.inf)
    anything = jax.random.categorical(action_key, logits, axis=-1)
    at_random = jax.random.uniform(which_key, values.shape[:-1]) < epsilon
    return jnp.where(at_random, anything, jnp.argmax(values, axis=-1)).astype(jnp.int32)


def epsilon_per_actor(num_envs: int, base: float, exponent: float) -> Array:
    """Give each environment its own epsilon, from `base` down to `base^(1 + exponent)`, as in Ape-X and R2D2.

    Args:
        num_envs: Number of environments.
        base: Epsilon of the first environment, in `(0, 1]`.
        exponent: Spread of the epsilons, at least 0.

    Returns:
        `base^(1 + exponent i / (num_envs - 1))` for environment i, `[num_envs]`; `base` for a single environment.

    Source:
        Horgan et al. 2018, "Distributed Prioritized Experience Replay", https://arxiv.org/abs/1803.00933.
    """
    place = jnp.arange(num_envs, dtype=jnp.float32) / max(num_envs - 1, 1)
    return base ** (1.0 + exponent * place)
