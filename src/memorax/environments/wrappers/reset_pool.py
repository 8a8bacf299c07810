"""ResetPool: compute expensive resets only for the environments whose episode ended, a few at a time."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap

from memorax.core import checks
from memorax.core.checks import check
from memorax.core.types import Array, Key, PyTree, strong
from memorax.environments.environment import Environment, Step, auto_reset
from memorax.environments.wrappers.base import Wrapper


class ResetPool(Wrapper):
    """Draw the starts of new episodes from a pool that is filled on demand.

    Under `jax.vmap` a conditional computes both of its branches, so that a step would make a new episode for every
    environment only to throw nearly all of them away. Here the environments whose episode ended are gathered, and
    new episodes are made for `size` of them at a time until none is left: none at all in a step that ends no episode.

    Nothing else changes: the episodes are those of the environment alone, key by key, each with a start of its own.
    It pays where a reset costs much more than a step (procedurally generated worlds, physics).
    """

    def __init__(self, env: Any, size: int) -> None:
        """Wrap an environment.

        Args:
            env: An environment that has `reset_env` and `step_env`.
            size: How many resets are computed at once, at least 1. A few more than episodes end in a step on average.

        Raises:
            TypeError: If `size` is no integer, or the environment only shows a `step` that resets.
            ValueError: If `size` is below 1.
        """
        super().__init__(env)
        self.size = check("size", size, checks.size())
        # A wrapper or adapter with a `step` of its own does more than reset in it, unless it says what.
        if type(self.env).step is not Environment.step and not hasattr(self.env, "complete_info"):
            raise TypeError(
                f"`env` of ResetPool must have a `step` that does nothing but reset, got {type(self.env).__name__}; "
                "put ResetPool inside of other wrappers"
            )

    def step(self, key: Key, state: PyTree, action: Array, params: PyTree | None = None) -> Step:
        """Take one step and reset where it ends the episode."""
        given = self.default_params if params is None else params
        step_key, reset_key = jax.random.split(key)
        observation, next_state, reward, terminated, info = self.env.step_env(step_key, state, action, given)
        truncated = self.env.is_truncated(next_state, given)
        ended = jnp.asarray(terminated).astype(bool) | jnp.asarray(truncated).astype(bool)

        following = getattr(self.env, "next_start", None)  # where the next episode depends on the last

        def reset(key: Key, given: PyTree, *last: PyTree) -> tuple[PyTree, PyTree]:
            return strong(self.env.reset_env(key, given) if following is None else following(key, *last, given))

        arguments = (reset_key, given) if following is None else (reset_key, given, next_state)
        fresh = compute_where(ended, reset, arguments, self.size)
        step = auto_reset(fresh, (observation, next_state), (reward, terminated, truncated), info)
        complete = getattr(self.env, "complete_info", None)
        return step if complete is None else (*step[:5], complete(step[0], step[1], step[5]))


def compute_where(needed: Array, make: Callable[..., PyTree], arguments: PyTree, chunk: int) -> PyTree:
    """Compute something only where a condition holds, under any number of `jax.vmap` too.

    Args:
        needed: Whether the result will be used, bool scalar.
        make: What to compute; uses no traced value but its arguments.
        arguments: Tuple of arguments of `make`, a random key first.
        chunk: Rows that are computed at once.

    Returns:
        `make(*arguments)` where needed; elsewhere zeros of the same shapes and dtypes.
    """
    leaves, structure = jax.tree.flatten(arguments)
    shapes = jax.eval_shape(lambda *leaves: make(*jax.tree.unflatten(structure, leaves)), *leaves)

    def from_leaves(*leaves: Array) -> PyTree:
        return make(*jax.tree.unflatten(structure, leaves))

    @custom_vmap
    def one(needed: Array, *leaves: Array) -> PyTree:
        return jax.lax.cond(needed, from_leaves, lambda *_: _blank(shapes), *leaves)

    @one.def_vmap
    def _(size: int, batched: list[bool], needed: Array, *leaves: Array) -> tuple[PyTree, PyTree]:
        # The key stands first.
        rows = (True, True, *batched[2:])
        given = zip((needed, *leaves), batched, rows, strict=True)
        needed, *leaves_in_rows = (jnp.broadcast_to(x, (size, *x.shape)) if r and not b else x for x, b, r in given)
        made = _rows(from_leaves, shapes, rows[1:], chunk)(needed, *leaves_in_rows)
        return made, jax.tree.map(lambda _: True, made)

    return one(needed, *leaves)


def _rows(make: Callable[..., PyTree], shapes: PyTree, in_rows: tuple[bool, ...], chunk: int) -> Callable[..., PyTree]:
    """What computes many rows; arguments that are not `in_rows` are the same for all of them."""

    @custom_vmap
    def many(needed: Array, *leaves: Array) -> PyTree:
        return _compute_chunks(make, shapes, in_rows, chunk, (needed, leaves))

    @many.def_vmap
    def _(size: int, batched: list[bool], needed: Array, *leaves: Array) -> tuple[PyTree, PyTree]:
        # Two axes of rows become one, so that both share their chunks.
        rows = needed.shape[-1]
        flags = tuple(b or r for b, r in zip(batched[1:], in_rows, strict=True))

        def merge(x: Array, batched: bool, row: bool) -> Array:
            if not batched and not row:
                return x
            x = x if batched else jnp.broadcast_to(x, (size, *x.shape))
            x = x if row else jnp.broadcast_to(x[:, None], (size, rows, *x.shape[1:]))
            return x.reshape(size * rows, *x.shape[2:])

        merged = [merge(*each) for each in zip(leaves, batched[1:], in_rows, strict=True)]
        made = _rows(make, shapes, flags, chunk)(merge(needed, batched[0], True), *merged)
        made = jax.tree.map(lambda x: x.reshape(size, rows, *x.shape[1:]), made)
        return made, jax.tree.map(lambda _: True, made)

    return many


def _compute_chunks(
    make: Callable[..., PyTree], shapes: PyTree, in_rows: tuple[bool, ...], chunk: int, given: tuple[Array, Any]
) -> PyTree:
    needed, leaves = given
    size = needed.shape[0]
    chunk = min(chunk, size)
    total = jnp.sum(needed, dtype=jnp.int32)
    # Rows where it holds first, then a number that no row has: read as the last row, and never written.
    rows = jnp.nonzero(needed, size=size + chunk, fill_value=size)[0]

    def any_left(loop: tuple[Array, PyTree]) -> Array:
        return loop[0] < total

    def compute_chunk(loop: tuple[Array, PyTree]) -> tuple[Array, PyTree]:
        begin, made = loop
        chosen = jax.lax.dynamic_slice(rows, (begin,), (chunk,))
        read = jnp.minimum(chosen, size - 1)
        picked = [x[read] if row else x for x, row in zip(leaves, in_rows, strict=True)]
        fresh = jax.vmap(make, in_axes=tuple(0 if row else None for row in in_rows))(*picked)
        made = jax.tree.map(lambda all_, new: all_.at[chosen].set(new, mode="drop"), made, fresh)
        return begin + chunk, made

    return jax.lax.while_loop(any_left, compute_chunk, (jnp.zeros((), jnp.int32), _blank(shapes, size)))[1]


def _blank(shapes: PyTree, *batch: int) -> PyTree:
    def blank(x: Any) -> Array:
        if not jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            return jnp.zeros((*batch, *x.shape), x.dtype)
        data = jax.eval_shape(jax.random.key_data, x)
        return jax.random.wrap_key_data(jnp.zeros((*batch, *data.shape), data.dtype), impl=x.dtype._impl.name)

    return jax.tree.map(blank, shapes)
