"""The selective scan of Mamba: a diagonal recurrence whose decay differs per step, channel and state.

Neither the decays nor the states of all steps are ever kept, `[batch, time, states, channels]`: the forward pass keeps
the states at the borders of chunks, and the hand-written backward pass computes a chunk's states again. The time it
takes is that of its exponentials and of the sums over channels. Forward-mode differentiation is defined for one step
only.
"""

from functools import partial
from typing import Any, cast

import jax
import jax.numpy as jnp

from memorax.core.types import Array
from memorax.kernels.groups import in_groups
from memorax.kernels.platform import unroll

_GROUP = 4
"""Rows of the batch that a CPU computes at a time, so that a chunk's states stay in its cache."""
_FASTEST = -1e6
"""Bound of the rates: what comes with a larger one is forgotten in any step that is not zero, and where the step is
zero, its slope would be infinite."""


_Now = tuple[Array, Array, Array, Array, Array]
"""What a step consumes: inputs, step sizes, writes, reads, resets; all steps have chunk and time axes in front."""


def selective_scan(
    sequence: tuple[Array, Array, Array, Array], rates: Array, reset: Array, initial: Array, *, chunk: int = 32
) -> tuple[Array, Array]:
    """Compute `h_t = exp(Δ_t A) h_{t-1} + Δ_t x_t B_t`, `y_t = C_t h_t`, starting from zero at every reset.

    Args:
        sequence: `x` and `Δ` `[batch, time, channels]`, `B` and `C` `[batch, time, states]`.
        rates: `A`, below zero, `[states, channels]`.
        reset: True where the state is forgotten before the step, `[batch, time]`.
        initial: The state before the first step, `[batch, states, channels]`.
        chunk: How many states are kept at once while the gradient is computed.

    Returns:
        The state after the last step `[batch, states, channels]`, and `y` `[batch, time, channels]`.
    """
    length = reset.shape[1]
    dtype = jnp.result_type(*sequence, rates, initial)
    inputs, steps, writes, reads = (x.astype(dtype) for x in sequence)
    now = inputs, steps, writes, reads, reset
    state, rates = initial.astype(dtype), jnp.maximum(rates, _FASTEST)
    if length == 1:
        state = _step(rates, state, jax.tree.map(lambda x: x[:, 0], now))
        return state.astype(initial.dtype), _read(state, reads[:, 0])[:, None]
    chunk = min(chunk, length)

    def cut(x: Array) -> Array:
        """`[batch, time, ...]` to `[chunk, time in the chunk, batch, ...]`; steps of size zero fill the last one."""
        x = jnp.pad(x.swapaxes(0, 1), [(0, -length % chunk)] + [(0, 0)] * (x.ndim - 1))
        return x.reshape(-1, chunk, *x.shape[1:])

    last, outputs = cast(tuple[Array, Array], _scan(rates, jax.tree.map(cut, now), state))
    outputs = outputs.reshape(-1, *outputs.shape[2:])[:length].swapaxes(0, 1)
    return last.astype(initial.dtype), outputs


@jax.custom_vjp
def _scan(rates: Array, chunks: _Now, initial: Array) -> tuple[Array, Array]:
    """`selective_scan` of chunks; each part `[chunk, time in the chunk, batch, ...]`."""
    return _forward(rates, chunks, initial)[0]


def _forward(rates: Array, chunks: _Now, initial: Array) -> tuple[tuple[Array, Array], Any]:
    def step(state: Array, now: _Now) -> tuple[Array, Array]:
        state = _step(rates, state, now)
        return state, _read(state, now[3])

    def run(state: Array, now: _Now) -> tuple[Array, tuple[Array, Array]]:
        last, outputs = jax.lax.scan(step, state, now, unroll=unroll())
        return last, (outputs, state)

    def all_chunks(chunks: _Now, initial: Array) -> Any:
        last, (outputs, borders) = jax.lax.scan(run, initial[0, 0], chunks)
        return last[None, None], outputs, borders[:, None]

    last, outputs, borders = in_groups(all_chunks, _GROUP, chunks, initial[None, None], axis=2)
    return (last[0, 0], outputs), (rates, chunks, borders[:, 0])


def _backward(residuals: Any, cotangents: tuple[Array, Array]) -> Any:
    rates, chunks, borders = residuals
    last, outputs = cotangents

    def again(state: Array, now: _Now) -> tuple[Array, Array]:
        state = _step(rates, state, now)
        return state, state

    def run(carry: tuple[Array, Array], now: tuple[_Now, Array, Array]) -> Any:
        chunk, output, border = now
        _, states = jax.lax.scan(again, border, chunk, unroll=unroll())
        before = jnp.concatenate([border[None], states[:-1]])
        pulled = chunk, output, states, before
        return jax.lax.scan(partial(_pull, rates), carry, pulled, reverse=True, unroll=unroll())

    def all_chunks(chunks: _Now, last: Array, outputs: Array, borders: Array) -> Any:
        last = last[0, 0]
        start = (last, jnp.zeros_like(last))
        (first, per_row), pulled = jax.lax.scan(run, start, (chunks, outputs, borders[:, 0]), reverse=True)
        return first[None, None], per_row[None, None], pulled

    first, per_row, pulled = in_groups(all_chunks, _GROUP, chunks, last[None, None], outputs, borders[:, None], axis=2)
    return jnp.sum(per_row[0, 0], axis=0), (*pulled, None), first[0, 0]


_scan.defvjp(_forward, _backward)


def _step(rates: Array, state: Array, now: _Now) -> Array:
    inputs, steps, writes, _, reset = now
    decay = jnp.exp(steps[:, None] * rates[None])
    written = (steps * inputs)[:, None] * writes[..., None]
    return decay * jnp.where(reset[:, None, None], 0, state) + written


def _read(state: Array, reads: Array) -> Array:
    return jnp.sum(state * reads[..., None], axis=1)


def _pull(rates: Array, carry: tuple[Array, Array], now: tuple[_Now, Array, Array, Array]) -> Any:
    """A step backward: the cotangents of the state and, row by row, of the rates; those of what the step consumed."""
    (state_cotangent, rates_cotangent), (now_, output, state, before) = carry, now
    inputs, steps, writes, reads, reset = now_
    g = state_cotangent + output[:, None] * reads[..., None]
    through = jnp.where(reset[:, None, None], 0, g * jnp.exp(steps[:, None] * rates[None]))
    exponent = jnp.where(reset[:, None, None], 0, through * before)
    written = jnp.sum(g * writes[..., None], axis=1)
    pulled = (
        steps * written,
        jnp.sum(exponent * rates[None], axis=1) + inputs * written,
        _sum_channels(g, steps * inputs),
        _sum_channels(state, output),
    )
    return (through, rates_cotangent + exponent * steps[:, None]), pulled


def _sum_channels(x: Array, weights: Array) -> Array:
    return jnp.einsum("bnc,bc->bn", x, weights, precision="highest")
