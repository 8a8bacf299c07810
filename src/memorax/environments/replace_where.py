"""Replace the rows of a batch where a condition holds, at the cost of those rows only."""

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap

from memorax.core.types import Array, PyTree, strong, vary_alike

Rows: TypeAlias = list[Array]


def replace_where(needed: Array, make: Callable[..., PyTree], arguments: PyTree, old: PyTree, chunk: int) -> PyTree:
    """Replace something where a condition holds, at no cost where it does not, under any number of `jax.vmap` too.

    Args:
        needed: Whether to replace it, bool scalar.
        make: Makes what replaces it, of the same structure and shapes; uses no traced value but its arguments.
        arguments: Tuple of arguments of `make`, a random key first.
        old: What stays where it is not replaced.
        chunk: Rows that are made at once.

    Returns:
        `make(*arguments)` where needed, elsewhere `old`; in dtypes that hold both.

    Raises:
        ValueError: If the shapes differ.
    """
    leaves, structure = jax.tree.flatten(arguments)
    new = jax.eval_shape(lambda *leaves: strong(make(*jax.tree.unflatten(structure, leaves))), *leaves)
    like = jax.tree.map(same_shapes, new, strong(old))
    kept, outer = jax.tree.flatten(_cast(old, like))

    def from_leaves(*leaves: Array) -> Rows:
        return jax.tree.leaves(_cast(make(*jax.tree.unflatten(structure, leaves)), like))

    @custom_vmap
    def one(needed: Array, kept: Rows, *leaves: Array) -> Rows:
        return jax.lax.cond(needed, lambda: from_leaves(*leaves), lambda: kept)

    @one.def_vmap
    def _(size: int, batched: Any, needed: Array, kept: Rows, *leaves: Array) -> tuple[Rows, list[bool]]:
        def spread(x: Array, batched: bool) -> Array:
            return x if batched else jnp.broadcast_to(x, (size, *x.shape))

        in_rows = (True, *batched[3:])  # the key stands first
        given = (spread(x, b) if row else x for x, b, row in zip(leaves, batched[2:], in_rows, strict=True))
        kept = [spread(*each) for each in zip(kept, batched[1], strict=True)]
        made = _rows(from_leaves, in_rows, chunk)(spread(needed, batched[0]), kept, *given)
        return made, [True] * len(made)

    return jax.tree.unflatten(outer, one(needed, kept, *leaves))


def _rows(make: Callable[..., Rows], in_rows: tuple[bool, ...], chunk: int) -> Callable[..., Rows]:
    """What replaces many rows; arguments that are not `in_rows` are the same for all of them."""

    @custom_vmap
    def many(needed: Array, kept: Rows, *leaves: Array) -> Rows:
        return _replace_chunks(make, in_rows, chunk, needed, kept, leaves)

    @many.def_vmap
    def _(size: int, batched: Any, needed: Array, kept: Rows, *leaves: Array) -> tuple[Rows, list[bool]]:
        # Two axes of rows become one, so that both share their chunks.
        rows = needed.shape[-1]
        flags = tuple(b or r for b, r in zip(batched[2:], in_rows, strict=True))

        def merge(x: Array, batched: bool, row: bool = True) -> Array:
            if not batched and not row:
                return x
            x = x if batched else jnp.broadcast_to(x, (size, *x.shape))
            x = x if row else jnp.broadcast_to(x[:, None], (size, rows, *x.shape[1:]))
            return x.reshape(size * rows, *x.shape[2:])

        merged = [merge(*each) for each in zip(leaves, batched[2:], in_rows, strict=True)]
        kept = [merge(*each) for each in zip(kept, batched[1], strict=True)]
        made = _rows(make, flags, chunk)(merge(needed, batched[0]), kept, *merged)
        return [x.reshape(size, rows, *x.shape[1:]) for x in made], [True] * len(made)

    return many


def _replace_chunks(
    make: Callable[..., Rows], in_rows: tuple[bool, ...], chunk: int, needed: Array, kept: Rows, leaves: Any
) -> Rows:
    size = needed.shape[0]
    chunk = min(chunk, size)

    def any_left(loop: tuple[Array, Rows]) -> Array:
        return jnp.any(loop[0])

    def replace_chunk(loop: tuple[Array, Rows]) -> tuple[Array, Rows]:
        left, kept = loop
        rank = jnp.cumsum(left, dtype=jnp.int32)  # 1, 2, ... in the rows that are left
        # Gathers and no scatter: XLA walks through the rows of a scatter one by one on a CPU.
        source = jnp.minimum(jnp.sum(rank[None] <= jnp.arange(chunk)[:, None], axis=1), size - 1)
        picked = [x[source] if row else x for x, row in zip(leaves, in_rows, strict=True)]
        made = jax.vmap(make, in_axes=tuple(0 if row else None for row in in_rows))(*picked)
        now, place = left & (rank <= chunk), jnp.clip(rank - 1, 0, chunk - 1)

        def replace(new: Array, old: Array) -> Array:
            return jnp.where(now.reshape(-1, *[1] * (old.ndim - 1)), new[place], old)

        return left & ~now, [replace(*each) for each in zip(made, kept, strict=True)]

    return jax.lax.while_loop(any_left, replace_chunk, vary_alike((needed, kept), leaves))[1]


def _cast(tree: PyTree, like: PyTree) -> PyTree:
    def cast(x: Any, aval: Any) -> Array:
        x = jnp.asarray(x)
        return x if x.dtype == aval.dtype else x.astype(aval.dtype)

    return jax.tree.map(cast, strong(tree), like)


def same_shapes(new: Any, old: Any) -> jax.ShapeDtypeStruct:
    """Describe what may hold either of two arrays, of a first and of a later observation or state.

    Args:
        new: An array of a reset.
        old: That of a step.

    Raises:
        ValueError: If their shapes differ.
    """
    if new.shape != old.shape:
        raise ValueError(
            f"observation and state must keep their shapes, got {new.shape} after reset and {old.shape} after step"
        )
    dtype = new.dtype if new.dtype == old.dtype else jnp.promote_types(new.dtype, old.dtype)
    return jax.ShapeDtypeStruct(new.shape, dtype)
