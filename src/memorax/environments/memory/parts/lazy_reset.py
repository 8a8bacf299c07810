"""Lazy resets: expensive resets are computed only for those environments of a batch whose episode ended."""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap

from memorax.core.types import Array, Key, PyTree
from memorax.environments.environment import EnvParams, EnvState
from memorax.environments.memory.parts.task import Task

StateT = TypeVar("StateT", bound=EnvState)
ParamsT = TypeVar("ParamsT", bound=EnvParams)

_CHUNK = 16
"""Environments that are reset at once: little is wasted where one ended, and many that end together stay cheap."""


def compute_where(needed: Array, make: Callable[[Key], PyTree], key: Key) -> PyTree:
    """Compute something only where a condition holds, under `jax.vmap` too.

    Under `jax.vmap` a `cond` computes both branches for every row. Here the rows where it holds are gathered, a few at
    a time until none is left, so that the cost grows with their number.

    Args:
        needed: Whether the result will be used, bool scalar.
        make: What to compute; uses no traced value but its key.
        key: Randomness.

    Returns:
        `make(key)` where needed; elsewhere zeros of the same shapes and dtypes.
    """
    shapes = jax.eval_shape(make, key)

    def nothing(*batch: int) -> PyTree:
        return jax.tree.map(lambda x: jnp.zeros((*batch, *x.shape), x.dtype), shapes)

    @custom_vmap
    def call(needed: Array, key: Key) -> PyTree:
        return jax.lax.cond(needed, make, lambda key: nothing(), key)

    @call.def_vmap
    def call_batch(size: int, batched: list[bool], needed: Array, key: Key) -> tuple[PyTree, PyTree]:
        given = zip((needed, key), batched, strict=True)
        needed, key = (x if b else jnp.broadcast_to(x, (size, *x.shape)) for x, b in given)
        chunk = min(_CHUNK, size)
        total = jnp.sum(needed, dtype=jnp.int32)
        # Rows where it holds first, then a number that no row has: read as the last row, and never written.
        rows = jnp.nonzero(needed, size=size + chunk, fill_value=size)[0]

        def any_left(loop: tuple[Array, PyTree]) -> Array:
            return loop[0] < total

        def compute_chunk(loop: tuple[Array, PyTree]) -> tuple[Array, PyTree]:
            begin, made = loop
            chosen = jax.lax.dynamic_slice(rows, (begin,), (chunk,))
            fresh = jax.vmap(make)(key[jnp.minimum(chosen, size - 1)])
            made = jax.tree.map(lambda all_, new: all_.at[chosen].set(new, mode="drop"), made, fresh)
            return begin + chunk, made

        made = jax.lax.while_loop(any_left, compute_chunk, (jnp.zeros((), jnp.int32), nothing(size)))[1]
        return made, jax.tree.map(lambda _: True, made)

    return call(needed, key)


class LazyReset(Task[StateT, ParamsT]):
    """A task whose `reset_env` is expensive and does not depend on the parameters.

    Results are those of `Task`; the next episode is only computed for environments whose episode ended.
    """

    def _next_start(self, ended: Array, key: Key, params: ParamsT) -> tuple[Array, StateT]:
        return compute_where(ended, lambda key: self.reset_env(key, self.default_params), key)
