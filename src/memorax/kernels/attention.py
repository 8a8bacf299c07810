"""Causal attention over a sliding window of each episode, with a cache, exact however a sequence is cut.

The query at step `i` sees the keys at `j` with `i - window < j <= i` in its own episode:
`o_i = sum_j softmax_j(q_i . k_j / sqrt(dim) + position) v_j`. One number decides all of it: with `age_i` the steps
since the episode's start, key `j` is visible if and only if `0 <= i - j <= min(age_i, window - 1)`.

The cache is a ring: the row of the episode's `p`-th step lies in slot `p % window`, and slots of no step are zero. So
the cache depends on the episode alone, a step writes one row of it, and its slots need no marks. A rotary key is turned
by the angle of its slot when it is written; a query is turned twice, for the slots of this round and of the last one.

A sequence is computed in blocks that see themselves and the `window - 1` rows before them: `O(time (window + block))`
products, and the scores of one block at a time, computed again backwards. Softmax is in float32 at least.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from memorax.core.broadcasting import with_rank
from memorax.core.types import Array
from memorax.kernels.platform import on_cpu


class Cache(NamedTuple):
    """What an episode's next step sees of the steps before it.

    Attributes:
        keys: As `place` makes them, `[batch, heads, window, dim]`.
        values: `[batch, heads, window, dim]`.
        steps: How many steps of the running episode were consumed, int32 `[batch]`.
    """

    keys: Array
    values: Array
    steps: Array


class Positions(NamedTuple):
    """How scores know about the distance `i - j`; all None: not at all.

    Attributes:
        frequencies: Rotary: queries and keys are turned by these angles per step, `[dim / 2]`.
        slopes: Linear bias: `-slope (i - j)` is added, `[heads]`.
        relative: Transformer-XL: queries `[batch, time, heads, dim]`, whose products with the keys
            `[window, heads, dim]` of every distance are added before the division by `sqrt(dim)`.
    """

    frequencies: np.ndarray | None = None
    slopes: np.ndarray | None = None
    relative: tuple[Array, Array] | None = None


NOWHERE = Positions()  # what is seen is a set


class Rows(NamedTuple):
    """Keys, values, and NaN for every step in which either is not finite, there as zeros; else 0."""

    keys: Array
    values: Array
    poison: Array


def empty_cache(batch: int, heads: int, window: int, dim: int) -> Cache:
    """Give the cache before an episode's first step."""
    return Cache(rows := jnp.zeros((batch, heads, window, dim), jnp.float32), rows, jnp.zeros(batch, jnp.int32))


def window_attention(
    queries: Array,
    keys: Array,
    values: Array,
    reset: Array,
    cache: Cache,
    positions: Positions = NOWHERE,
    *,
    block: int | None = None,
) -> tuple[Cache, Array]:
    """Attend to the last steps of the episode; as many as the cache has slots, the current one among them.

    Args:
        queries: `[batch, time, heads, dim]`.
        keys: `[batch, time, heads, dim]`.
        values: `[batch, time, heads, dim]`.
        reset: True where an episode begins, `[batch, time]`.
        cache: What was seen before.
        positions: How scores know about distances.
        block: Steps computed at once; None chooses by platform. A single step does without.

    Returns:
        The cache after the sequence, and the outputs `[batch, time, heads, dim]`.
    """
    queries, keys, values = (x.swapaxes(1, 2) for x in (queries, keys, values))
    if positions.relative is not None:
        relative, embedded = positions.relative
        positions = positions._replace(relative=(relative.swapaxes(1, 2), embedded))
    window, age = cache.keys.shape[2], episode_steps(reset, cache.steps)
    placed = place(keys, age[:, None] % window, positions)
    kept = [remember(*of, reset, cache.steps) for of in ((cache.keys, placed), (cache.values, values))]
    seen = Cache(kept[0], kept[1], age[:, -1] + 1)
    if queries.shape[2] == 1:
        return seen, _step(queries, seen, positions).swapaxes(1, 2)
    slots = (cache.steps[:, None, None] + np.arange(1, window)[None, None]) % window
    past = _clean(place(recall(cache.keys, cache.steps), -slots, positions), recall(cache.values, cache.steps))
    return seen, _sequence(queries, past, _clean(keys, values), age, positions, block).swapaxes(1, 2)


def place(keys: Array, slots: Array | np.ndarray, positions: Positions) -> Array:
    """Turn keys as the cache holds them.

    A rotary key is turned by its slot, once: turning all keys at every step takes five times as long as attending.

    Args:
        keys: `[batch, heads, time, dim]`.
        slots: Where in the ring they lie, `[..., time]`; the negative ones turn back.
        positions: How scores know about distances.

    Returns:
        `[batch, heads, time, dim]`.
    """
    return keys if positions.frequencies is None else rotate(keys, slots, positions.frequencies)


def episode_steps(reset: Array, count: Array) -> Array:
    """Count the steps since the episode's first one.

    Args:
        reset: True where an episode begins, `[batch, time]`.
        count: Steps of the running episode before the sequence, `[batch]`.

    Returns:
        Zero at an episode's first step, `[batch, time]`, int32.
    """
    time = jnp.arange(reset.shape[1], dtype=jnp.int32)[None]
    begin = jax.lax.cummax(jnp.where(reset, time, -1), axis=1)
    return jnp.where(begin < 0, count[:, None] + time, time - begin)


def remember(ring: Array, rows: Array, reset: Array, count: Array) -> Array:
    """Write the rows of a sequence into a ring.

    Args:
        ring: `[batch, heads, window, dim]`.
        rows: `[batch, heads, time, dim]`.
        reset: True where an episode begins, `[batch, time]`.
        count: Steps of the running episode before the sequence, `[batch]`.

    Returns:
        The ring after the sequence, which holds nothing but rows of the running episode.
    """
    window, rows = ring.shape[2], rows.astype(ring.dtype)
    age = episode_steps(reset, count)[:, -1]
    if rows.shape[2] == 1:
        ring = jnp.where(reset[:, :, None, None], 0, ring)
        return jax.vmap(partial(jax.lax.dynamic_update_slice_in_dim, axis=1))(ring, rows, age % window)
    rows = jnp.concatenate([recall(ring, count), rows], axis=2)[:, :, -window:]
    distance = (age[:, None] - jnp.arange(window)[None]) % window
    return jnp.where((distance <= age[:, None])[:, None, :, None], _turn(rows, -age - 1, window), 0)


def recall(ring: Array, count: Array) -> Array:
    """Read all but the oldest row of a ring, the newest one last, `[batch, heads, window - 1, dim]`."""
    return _turn(ring, count + 1, ring.shape[2] - 1)


def slot_steps(count: Array, window: int) -> Array:
    """Say which step of the episode lies in which slot of a ring, negative for none, `[batch, window]`."""
    last = count[:, None] - 1
    return last - (last - jnp.arange(window)[None]) % window


def rotate(x: Array, positions: np.ndarray | Array, frequencies: np.ndarray) -> Array:
    """Turn the pairs `(x_f, x_{f + dim/2})` by the angle `position * frequency_f`.

    Args:
        x: `[..., dim]`.
        positions: Anything that broadcasts to `x` without its last axis. Small ones are exact ones.
        frequencies: `[dim / 2]`.

    Returns:
        `[..., dim]`, in the type of `x`.
    """
    known = np if isinstance(positions, np.ndarray) else jnp  # nothing to compute later, and exact
    angles = with_rank(positions, x.ndim - 1)[..., None] * with_rank(frequencies, x.ndim)
    kind = jnp.promote_types(x.dtype, jnp.float32)
    cos, sin = known.cos(angles).astype(kind), known.sin(angles).astype(kind)
    left, right = jnp.split(x, 2, axis=-1)
    return jnp.concatenate([left * cos - right * sin, right * cos + left * sin], axis=-1).astype(x.dtype)


def _turn(rows: Array, start: Array, length: int) -> Array:
    """Read `length` rows of `[batch, heads, window, dim]` from `start`, going round."""
    twice = jnp.concatenate([rows, rows], axis=2)
    read = partial(jax.lax.dynamic_slice_in_dim, slice_size=length, axis=1)
    return jax.vmap(read)(twice, start % rows.shape[2])


def _clean(keys: Array, values: Array) -> Rows:
    """Take out what is not finite: it would reach every query of a product, seen or not."""
    finite = jnp.all(jnp.isfinite(keys) & jnp.isfinite(values), axis=(1, 3))
    keys, values = (jnp.where(finite[:, None, :, None], x, 0) for x in (keys, values))
    return Rows(keys, values, jnp.where(finite, 0.0, jnp.nan))


def _step(queries: Array, seen: Cache, positions: Positions) -> Array:
    """Attend from the newest row of a ring; the rows need no cleaning, for all of them are visible or zero."""
    window, dim = seen.keys.shape[2:]
    keys, values = (x.astype(queries.dtype) for x in (seen.keys, seen.values))
    slots, last = np.arange(window), seen.steps - 1
    slot = last % window
    distance = (slot[:, None] - slots[None]) % window
    if positions.frequencies is None:
        scores = _scores(queries, keys)
    else:  # slots after the newest row's were written one round before
        turned = [rotate(queries, (slot + lap)[:, None, None], positions.frequencies) for lap in (0, window)]
        both = _scores(jnp.concatenate(turned, axis=2), keys)
        scores = jnp.where((slots[None] <= slot[:, None])[:, None, None], both[:, :, :1], both[:, :, 1:])
    if positions.relative is not None:
        scores += jnp.take_along_axis(_by_distance(positions.relative), distance[:, None, None], axis=-1)
    visible = (distance <= last[:, None])[:, None]
    return _mix(scores / np.sqrt(dim), visible, distance[:, None], values, positions)


def _sequence(queries: Array, past: Rows, rows: Rows, age: Array, positions: Positions, block: int | None) -> Array:
    """Attend from all steps of a sequence, `[batch, heads, time, dim]`."""
    time, reach = queries.shape[2], past.keys.shape[2]
    block = block or min(max(reach + 1, 32), 64 if on_cpu() else 128)
    relative, embedded = positions.relative or (None, None)
    whole = (queries, rows, age, relative)
    if time <= block:
        return _block(positions, embedded, past, whole)[1]

    def cut(axis: int, x: Array) -> Array:
        """To `[blocks, ...]`; what fills up the last block is later than every query that counts."""
        padded = jnp.pad(x, [(0, -time % block if a == axis else 0) for a in range(x.ndim)])
        return jnp.moveaxis(padded.reshape(*x.shape[:axis], -1, block, *x.shape[axis + 1 :]), axis, 0)

    blocks = jax.tree.map(lambda x: cut(1 if x.ndim == 2 else 2, x), whole)
    step = jax.checkpoint(partial(_block, positions, embedded), prevent_cse=False)
    outputs = jnp.moveaxis(jax.lax.scan(step, past, blocks)[1], 0, 2)
    return outputs.reshape(*outputs.shape[:2], -1, outputs.shape[-1])[:, :, :time]


def _block(
    positions: Positions, embedded: Array | None, past: Rows, block: tuple[Array, Rows, Array, Array | None]
) -> tuple[Rows, Array]:
    """Attend from one block to itself and to the rows before it; return the rows before the next one."""
    queries, rows, age, relative = block
    reach, length = past.keys.shape[2], queries.shape[2]
    rows = Rows(
        jnp.concatenate([past.keys.astype(rows.keys.dtype), rows.keys], axis=2),
        jnp.concatenate([past.values.astype(rows.values.dtype), rows.values], axis=2),
        jnp.concatenate([past.poison, rows.poison], axis=1),
    )
    distance = (steps := np.arange(reach + length))[reach:, None] - steps
    visible = jnp.asarray(distance >= 0)[None] & (distance[None] <= jnp.minimum(age, reach)[..., None])
    keys, turns = rows.keys, positions.frequencies
    if turns is not None:
        queries, keys = rotate(queries, steps[reach:], turns), rotate(keys, steps, turns)
    scores = _scores(queries, keys)
    if relative is not None and embedded is not None:
        scores += _skew(_by_distance((relative, embedded)))
    scores = scores / np.sqrt(queries.shape[-1]) + rows.poison[:, None, None]
    outputs = _mix(scores, visible, distance, rows.values, positions)
    kept = Rows(rows.keys[:, :, length:], rows.values[:, :, length:], rows.poison[:, length:])
    return jax.tree.map(lambda new, old: new.astype(old.dtype), kept, past), outputs


def _scores(queries: Array, keys: Array) -> Array:
    return jnp.einsum("bhqd,bhkd->bhqk", queries, keys, preferred_element_type=_wide(queries))


def _by_distance(relative: tuple[Array, Array]) -> Array:
    return jnp.einsum("bhqd,whd->bhqw", *relative, preferred_element_type=_wide(relative[0]))


def _skew(scores: Array) -> Array:
    """Turn scores of distances, `[batch, heads, time, window]`, to scores of keys, `[..., window - 1 + time]`."""
    *front, time, window = scores.shape
    width = window - 1 + time
    padded = jnp.pad(scores[..., ::-1], [(0, 0)] * 3 + [(0, time)])  # rows of width + 1, read as rows of width
    return padded.reshape(*front, -1)[..., : time * width].reshape(*front, time, width)


def _mix(scores: Array, visible: Array, distance: Array | np.ndarray, values: Array, positions: Positions) -> Array:
    """Average the visible values; `visible` `[batch, time, keys]`, every query sees at least itself."""
    if positions.slopes is not None:
        scores -= positions.slopes[None, :, None, None] * distance.reshape(-1, 1, *distance.shape[-2:])
    scores = jnp.where(visible[:, None], scores, -jnp.inf)
    weights = jnp.exp(scores - jax.lax.stop_gradient(jnp.max(scores, axis=-1, keepdims=True)))
    # Divided after the product, and so in its gradient: what has a number for each key is passed over less often.
    mixed = jnp.einsum("bhqk,bhkd->bhqd", weights.astype(values.dtype), values, preferred_element_type=scores.dtype)
    return (mixed / jnp.sum(weights, axis=-1, keepdims=True)).astype(values.dtype)


def _wide(x: Array) -> jnp.dtype:
    return jnp.promote_types(x.dtype, jnp.float32)
