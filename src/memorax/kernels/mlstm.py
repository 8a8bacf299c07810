"""The matrix memory of mLSTM: exponential gates, a normalizer and a stabilizer, chunk by chunk.

    C_t = f_t C_{t-1} + i_t k_t v_tᵀ,   n_t = f_t n_{t-1} + i_t k_t,   h_t = C_tᵀ q_t / max(|n_tᵀ q_t|, 1),

with `i = exp(ĩ)` and `f = σ(f̃)`. The state holds `C` and `n` scaled by `exp(-m)`, where `m` is the largest exponent in
them; the lower bound of the denominator is `exp(-m)` then, so `h` does not depend on `m`, and `m` needs no gradient.
"""

from typing import NamedTuple, cast

import jax
import jax.numpy as jnp

from memorax.core.types import Array
from memorax.kernels.chunks import Masks, State, cumulate, product, run_chunks

EMPTY = -1e30
"""The stabilizer of an empty memory: below every exponent, but finite."""

MLSTMState = tuple[Array, Array, Array]
"""`C` `[batch, heads, key_dim, value_dim]`, `n` `[batch, heads, key_dim]` and `m` `[batch, heads]`."""


class MLSTMSteps(NamedTuple):
    """What the steps of a sequence do to the memory.

    Attributes:
        query: `[batch, time, heads, key_dim]`.
        key: `[batch, time, heads, key_dim]`, scaled already.
        value: `[batch, time, heads, value_dim]`.
        write: What the input gate is the exponential of, `[batch, time, heads]`.
        forget: What the forget gate is the sigmoid of, `[batch, time, heads]`.
    """

    query: Array
    key: Array
    value: Array
    write: Array
    forget: Array


def mlstm(
    steps: MLSTMSteps, reset: Array, state: MLSTMState, *, eps: float = 0.0, chunk: int | None = None
) -> tuple[MLSTMState, Array]:
    """Write values under keys with exponential gates, and read normalized.

    Args:
        steps: The inputs.
        reset: True where the state is forgotten before the step, `[batch, time]`.
        state: The state before the first step, float32 at least; everything is computed in its dtype. An empty one is
            zeros, with `m = EMPTY`.
        eps: Added to the denominator of the stabilized form; with 0 the outputs do not depend on the stabilizer.
        chunk: How many steps are computed at once; None chooses by platform.

    Returns:
        The state after the last step, and the outputs `[batch, time, heads, value_dim]`.
    """
    if reset.shape[1] == 1:
        now = jax.tree.map(lambda x: x[:, 0].astype(state[0].dtype), steps)
        state, outputs = _step(state, now, reset[:, 0], eps)
        return state, outputs[:, None]

    def body(state: State, steps: MLSTMSteps, masks: Masks) -> tuple[State, Array]:
        return _chunk(state, steps, masks, eps)

    states, outputs = run_chunks(body, state, steps, reset, chunk)
    return cast(MLSTMState, states), outputs


def _step(state: MLSTMState, now: MLSTMSteps, reset: Array, eps: float) -> tuple[MLSTMState, Array]:
    matrix, normalizer, largest = state
    query, key, value, write, forget = now
    matrix = jnp.where(reset[:, None, None, None], 0, matrix)
    normalizer = jnp.where(reset[:, None, None], 0, normalizer)
    kept = jnp.where(reset[:, None], EMPTY, largest) + jax.nn.log_sigmoid(forget)
    largest = jax.lax.stop_gradient(jnp.maximum(kept, write))
    keep, write = jnp.exp(kept - largest), jnp.exp(write - largest)
    key = key * write[..., None]
    matrix = matrix * keep[..., None, None] + key[..., :, None] * value[..., None, :]
    normalizer = normalizer * keep[..., None] + key
    numerator = jnp.sum(matrix * query[..., :, None], axis=-2)
    outputs = _normalize(numerator, jnp.sum(normalizer * query, axis=-1), largest, eps)
    return (matrix, normalizer, largest), outputs


def _chunk(state: State, steps: MLSTMSteps, masks: Masks, eps: float) -> tuple[State, Array]:
    matrix, normalizer, largest = state
    query, key, value, write, forget = steps
    total = cumulate(jax.nn.log_sigmoid(forget), masks)
    # Exponents of what step t reads of step s, and of what it reads of the old state.
    between = total[..., :, None] - total[..., None, :] + write[..., None, :]
    between = jnp.where(masks.pair, between, EMPTY)
    since = jnp.where(masks.old, total + largest[..., None], EMPTY)
    scale = jax.lax.stop_gradient(jnp.maximum(jnp.max(between, axis=-1), since))
    since = jnp.exp(since - scale)
    scores = product("bhtn,bhsn->bhts", query, key) * jnp.exp(between - scale[..., None])
    query = query * since[..., None]
    numerator = product("bhts,bhsp->bhtp", scores, value) + product("bhtn,bhnp->bhtp", query, matrix)
    denominator = jnp.sum(scores, axis=-1) + jnp.sum(query * normalizer[..., None, :], axis=-1)
    outputs = _normalize(numerator, denominator, scale, eps)

    # The last step sees just what the state after it holds, with the same stabilizer.
    key = key * jnp.exp(between[..., -1, :] - scale[..., -1:])[..., None]
    keep = since[..., -1]
    matrix = matrix * keep[..., None, None] + product("bhsn,bhsp->bhnp", key, value)
    normalizer = normalizer * keep[..., None] + jnp.sum(key, axis=-2)
    return (matrix, normalizer, scale[..., -1]), outputs


def _normalize(numerator: Array, denominator: Array, largest: Array, eps: float) -> Array:
    # With large gates `exp(-m)` overflows to infinity, or vanishes beside a denominator that is zero.
    bound = jnp.exp(jnp.clip(-largest, -80.0, 80.0))
    return cast(Array, _divide(numerator, (jnp.maximum(jnp.abs(denominator), bound) + eps)[..., None]))


@jax.custom_jvp
def _divide(above: Array, below: Array) -> Array:
    return above / below


@_divide.defjvp
def _divide_tangent(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    # The slope that comes with division has the square of the divisor in it, which vanishes with large gates.
    ratio = cast(Array, _divide(*primals))
    return ratio, (tangents[0] - ratio * tangents[1]) / primals[1]
