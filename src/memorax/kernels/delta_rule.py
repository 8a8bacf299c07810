"""The gated delta rule: what a key stood for is replaced, chunk by chunk.

    S ← a_t S_{t-1},   S_t = S + β_t k_t (v_t - Sᵀ k_t)ᵀ,   o_t = S_tᵀ q_t.

In a chunk, what the steps write, `u_t = β_t (v_t - Sᵀ k_t)`, solves one unit lower triangular system, whose matrix is
inverted by merging the inverses of diagonal blocks, twice as large each time: products of matrices only, and no powers
of the matrix, which would grow where keys repeat. Triangular solvers of LAPACK can deadlock inside XLA's loops on CPUs.
"""

from typing import NamedTuple, cast

import jax
import jax.numpy as jnp

from memorax.core.types import Array
from memorax.kernels.chunks import Masks, State, cumulate, decay_weights, fresh_where, product, run_chunks


class DeltaSteps(NamedTuple):
    """What the steps of a sequence do to a matrix.

    Attributes:
        query: `[batch, time, heads, key_dim]`.
        key: `[batch, time, heads, key_dim]`, of length 1 (or 0) for a stable rule.
        value: `[batch, time, heads, value_dim]`.
        beta: How much of the old value is replaced, in [0, 2]: above 1 the old value changes its sign,
            `[batch, time, heads]`.
        log_decay: Natural logarithm of the decay, finite, `[batch, time, heads]`; None forgets nothing.
    """

    query: Array
    key: Array
    value: Array
    beta: Array
    log_decay: Array | None = None


def delta_rule(steps: DeltaSteps, reset: Array, state: Array, *, chunk: int | None = None) -> tuple[Array, Array]:
    """Replace values under keys in a decaying matrix, and read it with queries.

    Args:
        steps: The inputs.
        reset: True where the state is forgotten before the step, `[batch, time]`.
        state: The state before the first step, `[batch, heads, key_dim, value_dim]`; float32 at least: everything is
            computed in its dtype.
        chunk: How many steps are computed at once; None chooses by platform.

    Returns:
        The state after the last step, and the outputs `[batch, time, heads, value_dim]`.
    """
    if reset.shape[1] == 1:
        (state,) = fresh_where(reset[:, 0], (state,))
        state, outputs = _step(state, jax.tree.map(lambda x: x[:, 0].astype(state.dtype), steps))
        return state, outputs[:, None]
    (state,), outputs = run_chunks(_chunk, (state,), steps, reset, chunk)
    return state, outputs


@jax.custom_jvp
def invert_unit_lower(strict: Array) -> Array:
    """Invert `1 + strict`.

    Args:
        strict: Strictly lower triangular matrices `[..., steps, steps]`; other entries must be zero.

    Returns:
        The inverses, unit lower triangular, `[..., steps, steps]`.
    """
    steps = strict.shape[-1]
    size = 1 << (steps - 1).bit_length()
    padding = [(0, 0)] * (strict.ndim - 2) + [(0, size - steps)] * 2
    blocks = jnp.pad(strict, padding)
    inverse = jnp.ones((*strict.shape[:-2], size, 1, 1), strict.dtype)
    width = 1
    while width < size:
        pairs = size // (2 * width)
        # [1 0; L 1] over two inverted blocks P and Q: the lower left corner of the inverse is -Q L P.
        below = blocks.reshape(*strict.shape[:-2], pairs, 2, width, pairs, 2, width)[..., 1, :, :, 0, :]
        below = jnp.moveaxis(jnp.diagonal(below, axis1=-4, axis2=-2), -1, -3)
        halves = inverse.reshape(*strict.shape[:-2], pairs, 2, width, width)
        first, second = halves[..., 0, :, :], halves[..., 1, :, :]
        corner = -product("...ij,...jk,...kl->...il", second, below, first)
        top = jnp.concatenate([first, jnp.zeros_like(first)], axis=-1)
        inverse = jnp.concatenate([top, jnp.concatenate([corner, second], axis=-1)], axis=-2)
        width *= 2
    return inverse[..., 0, :steps, :steps]


@invert_unit_lower.defjvp
def _invert_tangent(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    inverse = cast(Array, invert_unit_lower(*primals))
    return inverse, -product("...ij,...jk,...kl->...il", inverse, tangents[0], inverse)


def _step(state: Array, now: DeltaSteps) -> tuple[Array, Array]:
    query, key, value, beta, log_decay = now
    if log_decay is not None:
        state = state * jnp.exp(log_decay)[..., None, None]
    error = value - jnp.sum(state * key[..., :, None], axis=-2)
    state = state + key[..., :, None] * (beta[..., None] * error)[..., None, :]
    return state, jnp.sum(state * query[..., :, None], axis=-2)


def _chunk(states: State, steps: DeltaSteps, masks: Masks) -> tuple[State, Array]:
    (state,) = states
    query, key, value, beta, log_decay = steps
    if log_decay is None:
        between, since, until = (mask.astype(state.dtype) for mask in masks)
    else:
        between, since, until = decay_weights(cumulate(log_decay, masks), masks)

    earlier = between * jnp.tri(key.shape[-2], k=-1, dtype=state.dtype)[None, None]
    overlap = product("bhtn,bhsn->bhts", key * beta[..., None], key) * earlier
    old = product("bhtn,bhnp->bhtp", key * since[..., None], state)
    written = product("bhts,bhsp->bhtp", invert_unit_lower(overlap), beta[..., None] * (value - old))

    scores = product("bhtn,bhsn->bhts", query, key) * between
    outputs = product("bhts,bhsp->bhtp", scores, written)
    outputs += product("bhtn,bhnp->bhtp", query * since[..., None], state)
    state = state * since[..., -1][..., None, None]
    return (state + product("bhsn,bhsp->bhnp", key * until[..., None], written),), outputs
