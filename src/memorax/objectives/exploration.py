"""Epsilon-greedy exploration."""

from collections.abc import Sequence

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
    anything = _uniform(action_key, values, allowed)
    at_random = jax.random.uniform(which_key, values.shape[:-1]) < epsilon
    return jnp.where(at_random, anything, jnp.argmax(values, axis=-1)).astype(jnp.int32)


def epsilon_greedy_branches(
    key: Key, branches: Sequence[Array], epsilon: Array | float, allowed: Array | None = None
) -> Array:
    """Take the greedy choice of every branch, or with probability `epsilon` draw all of them uniformly.

    Args:
        key: Random key.
        branches: Values of the choices of each branch, `[..., choices]`.
        epsilon: Probability of a random action, all branches at once, in `[0, 1]`, of shape `[...]` or a single number.
        allowed: Mask of the choices of all branches side by side, `[..., sum(choices)]`; None allows all.

    Returns:
        Actions, int32 `[..., branches]`.
    """
    which_key, *keys = jax.random.split(key, 1 + len(branches))
    starts = [sum(x.shape[-1] for x in branches[:i]) for i in range(len(branches))]
    masks = [
        None if allowed is None else allowed[..., i : i + x.shape[-1]] for i, x in zip(starts, branches, strict=True)
    ]
    at_random = jax.random.uniform(which_key, branches[0].shape[:-1]) < epsilon
    actions = [
        jnp.where(at_random, _uniform(key, values, mask), jnp.argmax(values, axis=-1))
        for key, values, mask in zip(keys, branches, masks, strict=True)
    ]
    return jnp.stack(actions, axis=-1).astype(jnp.int32)


def _uniform(key: Key, values: Array, allowed: Array | None) -> Array:
    logits = jnp.zeros(values.shape)
    if allowed is not None:
        # Where nothing is allowed, anything is drawn.
        logits = jnp.where(allowed | ~jnp.any(allowed, axis=-1, keepdims=True), 0.0, -jnp.inf)
    return jax.random.categorical(key, logits, axis=-1)


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
