"""Matrix states with one decay for a head: linear attention, retention and state space duality, chunk by chunk.

    S_t = a_t R(θ_t) S_{t-1} + w_t k_t v_tᵀ,   o_t = S_tᵀ q_t,   a_t = exp(log a_t),

where `R` turns pairs of the key's dimensions. In a chunk of Q steps all outputs are two products: what its steps read
from each other, weighed by the decays between them, and what they read from the state before it. That costs about
`2 Q (N + P) + 4 N P` operations for each step and head, instead of `6 N P`, but as products of matrices; no array holds
a state for each step.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from memorax.core.broadcasting import with_rank
from memorax.core.types import Array
from memorax.kernels.chunks import (
    TILE,
    Masks,
    State,
    cumulate,
    decay_weights,
    expand_heads,
    fresh_where,
    product,
    run_chunks,
)


class LinearSteps(NamedTuple):
    """What the steps of a sequence do to a matrix.

    Attributes:
        query: `[batch, time, groups, key_dim]`, where the number of groups divides that of heads.
        key: `[batch, time, groups, key_dim]`.
        value: `[batch, time, heads, value_dim]`.
        log_decay: Natural logarithm of the decay, finite: `[batch, time, heads]`, or `[heads]` for a constant one.
            None forgets nothing.
        angles: By how many radians a step turns the state: `[batch, time, heads, pairs]`, or `[pairs]` for constant
            ones; dimension i of the keys is paired with dimension `pairs + i`. None turns nothing.
        own: The weight `w_t` of a write where its own step reads it, `[batch, time, heads]`; None where it is `write`.
        write: The weight `w_t` of a write for every later step, `[batch, time, heads]`; None is 1.
    """

    query: Array
    key: Array
    value: Array
    log_decay: Array | None = None
    angles: Array | None = None
    own: Array | None = None
    write: Array | None = None


class Constants(NamedTuple):
    """Decays and angles that are the same at every step."""

    log_decay: Array | None
    angles: Array | None


def linear_attention(
    steps: LinearSteps, reset: Array, state: Array, *, chunk: int | None = None
) -> tuple[Array, Array]:
    """Write values under keys into a decaying matrix, and read it with queries.

    Args:
        steps: The inputs.
        reset: True where the state is forgotten before the step, `[batch, time]`.
        state: The state before the first step, `[batch, heads, key_dim, value_dim]`; float32 at least: everything is
            computed in its dtype.
        chunk: How many steps are computed at once; None chooses by platform.

    Returns:
        The state after the last step, and the outputs `[batch, time, heads, value_dim]`.
    """
    constants = Constants(None, None)
    if steps.log_decay is not None and steps.log_decay.ndim == 1:
        constants, steps = constants._replace(log_decay=steps.log_decay), steps._replace(log_decay=None)
    if steps.angles is not None and steps.angles.ndim == 1:
        constants, steps = constants._replace(angles=steps.angles), steps._replace(angles=None)
    constants = jax.tree.map(lambda x: x.astype(state.dtype), constants)
    if reset.shape[1] == 1:
        (state,) = fresh_where(reset[:, 0], (state,))
        now = jax.tree.map(lambda x: x[:, 0].astype(state.dtype), steps)
        state, outputs = _step(constants, state, now)
        return state, outputs[:, None]
    if chunk is None and steps.log_decay is None and constants.log_decay is None and reset.shape[1] <= TILE:
        chunk = TILE  # pairs of steps without decays cost less than a loop that computes its chunks twice
    (state,), outputs = run_chunks(partial(_chunk, constants), (state,), steps, reset, chunk)
    return state, outputs


def rotate(x: Array, angles: Array) -> Array:
    """Turn dimension i and dimension `pairs + i` of the last axis by angle i; further dimensions stay.

    Args:
        x: `[..., dim]`.
        angles: Radians, `[..., pairs]`, with leading axes that broadcast against those of `x`.

    Returns:
        `[..., dim]`.
    """
    pairs = angles.shape[-1]
    first, second, rest = x[..., :pairs], x[..., pairs : 2 * pairs], x[..., 2 * pairs :]
    angles = with_rank(angles, x.ndim)
    cos, sin = jnp.cos(angles), jnp.sin(angles)
    return jnp.concatenate([first * cos - second * sin, first * sin + second * cos, rest], axis=-1)


def _step(constants: Constants, state: Array, now: LinearSteps) -> tuple[Array, Array]:
    heads = state.shape[1]
    query, key, value = expand_heads(now.query, heads), expand_heads(now.key, heads), now.value
    angles = constants.angles if now.angles is None else now.angles
    log_decay = now.log_decay if constants.log_decay is None else constants.log_decay[None]
    if angles is not None:
        state = _turn(state, angles)
    if log_decay is not None:
        state = state * jnp.exp(log_decay)[..., None, None]
    before = state
    kept = value if now.write is None else value * now.write[..., None]
    state = state + key[..., :, None] * kept[..., None, :]
    if now.own is None:
        return state, jnp.sum(state * query[..., :, None], axis=-2)
    own = (now.own * jnp.sum(query * key, axis=-1))[..., None] * value
    return state, jnp.sum(before * query[..., :, None], axis=-2) + own


def _chunk(constants: Constants, states: State, now: LinearSteps, masks: Masks) -> tuple[State, Array]:
    (state,) = states
    query, key, value, log_decay, angles, own, write = now
    heads, steps = value.shape[1:3]
    count = jnp.arange(1, steps + 1, dtype=state.dtype)
    if constants.angles is not None:
        angles = (count[:, None] * constants.angles[None])[None, None]
    elif angles is not None:
        angles = cumulate(angles, masks)
    if angles is not None:
        # Relative to the chunk's beginning: however long the episode, arguments of the sine stay small.
        query = rotate(expand_heads(query, max(query.shape[1], angles.shape[1])), -angles)
        key = rotate(expand_heads(key, max(key.shape[1], angles.shape[1])), -angles)

    if constants.log_decay is not None:
        between, since, until = decay_weights((constants.log_decay[:, None] * count[None])[None], masks)
    elif log_decay is not None:
        between, since, until = decay_weights(cumulate(log_decay, masks), masks)
    else:
        between, since, until = (mask.astype(state.dtype) for mask in masks)
    scores = expand_heads(product("bhtn,bhsn->bhts", query, key), heads) * between
    if write is not None or own is not None:
        later = 1 if write is None else write[..., None, :]
        scores = scores * jnp.where(
            jnp.eye(steps, dtype=bool)[None, None], later if own is None else own[..., None, :], later
        )
    query, key = expand_heads(query, heads), expand_heads(key, heads)
    outputs = product("bhts,bhsp->bhtp", scores, value)
    outputs += product("bhtn,bhnp->bhtp", query * since[..., None], state)

    if write is not None:
        until = until * write
    state = state * since[..., -1][..., None, None]
    state += product("bhsn,bhsp->bhnp", key * until[..., None], value)
    return (state if angles is None else _turn(state, angles[..., -1, :]),), outputs


def _turn(state: Array, angles: Array) -> Array:
    """Turn the key axis of states `[batch, heads, key_dim, value_dim]`."""
    return rotate(state.swapaxes(-1, -2), angles[..., None, :]).swapaxes(-1, -2)
