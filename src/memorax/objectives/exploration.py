"""What to do that does not look best."""

import jax
import jax.numpy as jnp

from memorax.core.types import Array, Key


def epsilon_greedy(key: Key, values: Array, epsilon: Array | float, allowed: Array | None = None) -> Array:
    """Take the best action, or with probability `epsilon` any, all allowed ones alike.

    Args:
        key: Random key.
        values: Values of the actions, `[..., actions]`.
        epsilon: Probability of a random action, `[0, 1]`, `[...]` or one for all.
        allowed: True where an action is allowed, `[..., actions]`; None allows all.

    Returns:
        Actions, int32 `[...]`.
    """
    which_key, action_key = jax.random.split(key)
    logits = jnp.zeros(values.shape) if allowed is None else jnp.where(allowed, 0.0, -jnp.inf)
    anything = jax.random.categorical(action_key, logits, axis=-1)
    at_random = jax.random.uniform(which_key, values.shape[:-1]) < epsilon
    return jnp.where(at_random, anything, jnp.argmax(values, axis=-1)).astype(jnp.int32)


def epsilon_per_actor(num_envs: int, base: float, exponent: float) -> Array:
    """Give every environment an epsilon of its own, from `base` down to `base^(1 + exponent)`.

    Args:
        num_envs: How many environments there are.
        base: Epsilon of the first, `(0, 1]`.
        exponent: How far the epsilons spread, at least 0.

    Returns:
        `base^(1 + exponent i / (num_envs - 1))`, `[num_envs]`.

    Source:
        Horgan et al. 2018, "Distributed Prioritized Experience Replay", https://arxiv.org/abs/1803.00933.
    """
    place = jnp.arange(num_envs, dtype=jnp.float32) / max(num_envs - 1, 1)
    return base ** (1.0 + exponent * place)
