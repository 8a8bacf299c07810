"""Recurrences over matrix states, chunk by chunk: resets as masks, and what is not finite kept inside its episode."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from memorax.core.types import Array
from memorax.kernels.platform import on_cpu, precision

TILE = 64
"""Rows and columns that a matrix unit multiplies at once."""
State = tuple[Array, ...]
"""What a recurrence remembers, each part `[batch, heads, ...]`."""


class Masks(NamedTuple):
    """Who sees whom in a chunk, by episodes.

    Attributes:
        pair: Whether step t (second to last axis) sees step s (last axis): not later, and of the same episode,
            `[batch, 1, steps, steps]`.
        old: Whether a step still belongs to the episode that the chunk began in, `[batch, 1, steps]`.
        last: Whether a step belongs to the episode that the chunk ends in, `[batch, 1, steps]`.
    """

    pair: Array
    old: Array
    last: Array


Body = Callable[[State, Any, Masks], tuple[State, Array]]
"""Maps the state before a chunk, its sequences `[batch, heads, steps, ...]` and its masks to the state and outputs."""


def product(equation: str, *factors: Array) -> Array:
    """Multiply as `jnp.einsum` does, with the precision of float32 on every platform.

    Args:
        equation: As for `jnp.einsum`.
        *factors: Arrays of one floating dtype.

    Returns:
        The product, in the dtype of the factors.
    """
    return jnp.einsum(equation, *factors, precision=precision())


def default_chunk() -> int:
    """How many steps a chunk has: what measured best on CPUs, and a matrix unit's tile elsewhere."""
    return 32 if on_cpu() else TILE


def run_chunks(body: Body, state: State, sequences: Any, reset: Array, chunk: int | None = None) -> tuple[State, Array]:
    """Run a recurrence over time in chunks.

    The backward pass keeps the states at the borders of chunks and computes everything else again, so its memory is
    linear in time with a small factor. A NaN or an infinity turns the outputs of its head into NaN until the next
    reset, and the state where there is none; it reaches neither other episodes nor their gradients.

    Args:
        body: Computes a chunk of any length from finite arrays of the state's dtype.
        state: The state before the first step.
        sequences: The inputs, a pytree of arrays `[batch, time, heads, ...]`; they are cast to the state's dtype chunk
            by chunk.
        reset: True where the state is forgotten before the step, `[batch, time]`.
        chunk: How many steps are computed at once; None chooses by platform.

    Returns:
        The state after the last step, and the outputs `[batch, time, heads, ...]`.
    """
    length, size = reset.shape[1], default_chunk() if chunk is None else chunk
    now = (sequences, reset, jnp.cumsum(reset, axis=1, dtype=jnp.int32))
    run = partial(_run_chunk, body)
    whole = length // size if length > size else 0
    pieces = []
    if whole:
        # A scan computes its body again from the carry; nothing could be shared with the forward pass in any case.
        state, outputs = jax.lax.scan(
            jax.checkpoint(run, prevent_cse=False), state, jax.tree.map(lambda x: _cut(x, whole, size), now)
        )
        outputs = jnp.moveaxis(outputs, (0, 3), (1, 2))
        pieces.append(outputs.reshape(outputs.shape[0], whole * size, *outputs.shape[3:]))
    if whole * size < length:
        state, outputs = run(state, jax.tree.map(lambda x: _cut(x[:, whole * size :], 1, -1)[0], now))
        pieces.append(outputs.swapaxes(1, 2))
    return state, pieces[0] if len(pieces) == 1 else jnp.concatenate(pieces, axis=1)


def fresh_where(reset: Array, state: State) -> State:
    """Zeros where an episode begins, `reset` `[batch]`, else the state."""
    return tuple(jnp.where(_expand(reset, part.ndim), 0, part) for part in state)


def cumulate(steps: Array, masks: Masks) -> Array:
    """Sum up to and including each step, from its episode's or the chunk's beginning.

    A small product is quicker than a scan and its transpose, and earlier episodes do not touch the rounding.

    Args:
        steps: What to sum, `[batch, heads, steps, ...]`.
        masks: The chunk's masks.

    Returns:
        `[batch, heads, steps, ...]`.
    """
    return product("bts,bhs...->bht...", masks.pair[:, 0].astype(steps.dtype), steps)


def decay_weights(total: Array, masks: Masks) -> tuple[Array, Array, Array]:
    """Give what is left of one step's write at another.

    Args:
        total: Natural logarithms of the decays, cumulated, finite, `[batch or 1, heads, steps]`.
        masks: The chunk's masks.

    Returns:
        From step s to step t `[batch, heads, steps, steps]`, from the chunk's beginning to step t and from step s to
        the chunk's end `[batch, heads, steps]`; 0 where a mask forbids it.
    """
    # After an episode that decayed to nothing, the exponents that masks forbid are large.
    between = masked_exp(total[..., :, None] - total[..., None, :], masks.pair)
    since = masked_exp(total, masks.old)
    until = masked_exp(total[..., -1:] - total, masks.last)
    return between, since, until


def masked_exp(exponent: Array, mask: Array) -> Array:
    """Give the exponential, and 0 outside of the mask.

    Args:
        exponent: Finite, of any size outside of the mask.
        mask: Flags that broadcast against it.
    """
    # The exponent is masked as well as the result: an overflow that is selected away would make the gradient NaN.
    return jnp.where(mask, jnp.exp(jnp.where(mask, exponent, 0)), 0)


def _run_chunk(body: Body, state: State, now: tuple[Any, Array, Array]) -> tuple[State, Array]:
    sequences, reset, episode = now
    dtype = state[0].dtype
    sequences = jax.tree.map(lambda x: x.astype(dtype), sequences)
    masks = _masks(reset, episode)
    broken = _any(jnp.stack(_each_head([_not_finite(x, 3) for x in jax.tree.leaves(sequences)])), 0)
    lost = _any(jnp.stack([_not_finite(part, 2) for part in state]), 0)
    # How many steps that a step sees are broken: a product of flags is quicker than all pairs of all heads.
    seen = product("bts,bhs->bht", masks.pair[:, 0].astype(dtype), broken.astype(dtype))
    spoiled = (seen > 0.5) | (masks.old & lost[..., None])
    sequences = jax.tree.map(lambda x: jnp.where(jnp.isfinite(x), x, 0), sequences)
    state = tuple(jnp.where(_expand(lost, part.ndim), 0, part) for part in state)
    state, outputs = body(state, sequences, masks)
    state = tuple(jnp.where(_expand(spoiled[..., -1], part.ndim), jnp.nan, part) for part in state)
    return state, jnp.where(_expand(spoiled, outputs.ndim), jnp.nan, outputs)


def _masks(reset: Array, episode: Array) -> Masks:
    steps = jnp.arange(reset.shape[1])
    same = episode[:, :, None] == episode[:, None, :]
    old = episode == (episode - reset)[:, :1]
    return Masks(
        (same & (steps[:, None] >= steps[None])[None])[:, None], old[:, None], (episode == episode[:, -1:])[:, None]
    )


def _cut(x: Array, whole: int, size: int) -> Array:
    """`[batch, time, heads, ...]` to `[chunks, batch, heads, steps, ...]`, and `[batch, time]` alike."""
    size = x.shape[1] if size == -1 else size
    x = x[:, : whole * size].reshape(x.shape[0], whole, size, *x.shape[2:])
    x = x.swapaxes(0, 1)
    return x if x.ndim == 3 else x.swapaxes(2, 3)


def _not_finite(x: Array, rank: int) -> Array:
    return _any(~jnp.isfinite(x).reshape(*x.shape[:rank], -1), -1)


def _any(x: Array, axis: int) -> Array:
    return jnp.any(x, axis=axis)


def _each_head(flags: list[Array]) -> list[Array]:
    """Flags of groups of heads as flags of heads."""
    heads = max(flag.shape[1] for flag in flags)
    return [jnp.repeat(flag, heads // flag.shape[1], axis=1) for flag in flags]


def _expand(x: Array, ndim: int) -> Array:
    return x.reshape(x.shape + (1,) * (ndim - x.ndim))


def expand_heads(x: Array, heads: int) -> Array:
    """Repeat groups `[batch, groups, ...]` for the heads that share them."""
    return x if x.shape[1] == heads else jnp.repeat(x, heads // x.shape[1], axis=1)
