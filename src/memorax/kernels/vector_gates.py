"""Matrix states with a decay for each dimension of the keys, with or without erasing, chunk by chunk.

    S ← Diag(exp g_t) S_{t-1},   S_t = S + k_t (v_t - Sᵀ e_t)ᵀ,   o_t = S_tᵀ q_t,

where `e` is what is erased by; without it, a step only adds. In a chunk, what is left of a write differs between the
dimensions, so scores are sums of three factors instead of products of two matrices. Dividing the decays out of the keys
would make them products, but overflows where a chunk decays to nothing. Chunks are short for that.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from memorax.core.types import Array
from memorax.kernels.chunks import Masks, State, cumulate, fresh_where, masked_exp, product, run_chunks
from memorax.kernels.delta_rule import invert_unit_lower

CHUNK = 16
"""How many steps are computed at once."""


class GatedSteps(NamedTuple):
    """What the steps of a sequence do to a matrix.

    Attributes:
        query: `[batch, time, heads, key_dim]`.
        key: Where a step writes, `[batch, time, heads, key_dim]`.
        value: What it writes, `[batch, time, heads, value_dim]`.
        log_decay: Natural logarithms of the decays, finite, at most 0, `[batch, time, heads, key_dim]`.
        erase: The key whose value is subtracted from what is written, `[batch, time, heads, key_dim]`: the key itself
            times a gate in [0, 1] (or up to 2) per dimension. None erases nothing.
    """

    query: Array
    key: Array
    value: Array
    log_decay: Array
    erase: Array | None = None


def gated_memory(steps: GatedSteps, reset: Array, state: Array, *, chunk: int | None = None) -> tuple[Array, Array]:
    """Write values under keys into a matrix whose rows decay each at its own rate, and read it with queries.

    Args:
        steps: The inputs.
        reset: True where the state is forgotten before the step, `[batch, time]`.
        state: The state before the first step, `[batch, heads, key_dim, value_dim]`; float32 at least: everything is
            computed in its dtype.
        chunk: How many steps are computed at once; None: 16.

    Returns:
        The state after the last step, and the outputs `[batch, time, heads, value_dim]`.
    """
    if reset.shape[1] == 1:
        (state,) = fresh_where(reset[:, 0], (state,))
        state, outputs = _step(state, jax.tree.map(lambda x: x[:, 0].astype(state.dtype), steps))
        return state, outputs[:, None]
    (state,), outputs = run_chunks(_chunk, (state,), steps, reset, CHUNK if chunk is None else chunk)
    return state, outputs


def _step(state: Array, now: GatedSteps) -> tuple[Array, Array]:
    query, key, value, log_decay, erase = now
    state = state * jnp.exp(log_decay)[..., :, None]
    if erase is not None:
        value = value - jnp.sum(state * erase[..., :, None], axis=-2)
    state = state + key[..., :, None] * value[..., None, :]
    return state, jnp.sum(state * query[..., :, None], axis=-2)


def _chunk(states: State, steps: GatedSteps, masks: Masks) -> tuple[State, Array]:
    (state,) = states
    query, key, value, log_decay, erase = steps
    total = cumulate(log_decay, masks)
    between = masked_exp(total[:, :, :, None] - total[:, :, None], masks.pair[..., None])
    since = masked_exp(total, masks.old[..., None])
    until = masked_exp(total[:, :, -1:] - total, masks.last[..., None])

    def against_keys(x: Array) -> Array:
        return jnp.sum(x[:, :, :, None] * key[:, :, None] * between, axis=-1)

    if erase is not None:
        overlap = against_keys(erase) * jnp.tri(key.shape[-2], k=-1, dtype=state.dtype)[None, None]
        value = value - product("bhtn,bhnp->bhtp", erase * since, state)
        value = product("bhts,bhsp->bhtp", invert_unit_lower(overlap), value)
    outputs = product("bhts,bhsp->bhtp", against_keys(query), value)
    outputs += product("bhtn,bhnp->bhtp", query * since, state)
    state = state * since[..., -1, :, None]
    return (state + product("bhsn,bhsp->bhnp", key * until, value),), outputs
