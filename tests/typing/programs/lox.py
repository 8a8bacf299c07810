"""Logging as users write it; `make lint` checks the types."""

from typing import assert_type

import jax
import jax.numpy as jnp
import numpy as np

from memorax import lox


def train(key: jax.Array, state: dict[str, jax.Array], *, num_steps: int) -> dict[str, jax.Array]:
    """Stands for an agent's method."""
    lox.log({"losses": {"actor": jax.random.normal(key)}, "steps": num_steps})
    return state


def show(logs: dict[str, np.ndarray]) -> None:
    """Called on the host."""
    assert_type(logs["steps"], np.ndarray)


key, state = jax.random.key(0), {"params": jnp.zeros(3)}

trained, logs = lox.spool(train)(key, state, num_steps=100)
assert_type(trained, dict[str, jax.Array])
assert_type(logs, lox.Logs)

jax.jit(lox.spool(train), static_argnames="num_steps")(key, state, num_steps=100)


def seed(key: jax.Array) -> dict[str, jax.Array]:
    """One of several runs."""
    return train(key, state, num_steps=100)


seeds = jax.vmap(lox.spool(seed))(jax.random.split(key, 4))
assert_type(seeds, tuple[dict[str, jax.Array], lox.Logs])

assert_type(lox.tap(train, show)(key, state, num_steps=100), dict[str, jax.Array])
