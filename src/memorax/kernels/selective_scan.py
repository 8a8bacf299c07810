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
from memorax.kernels.platform import on_cpu, unroll

_GROUP = 2
"""Rows of the batch that a CPU computes at a time, so that a chunk's states stay in its cache."""
_FASTEST = -1e6
"""Bound of the rates: what comes with a larger one is forgotten in any step that is not zero, and where the step is
zero, its slope would be infinite."""


_Now = tuple[Array, Array, Array, Array, Array]
"""What a step consumes: inputs, step sizes, writes, reads, resets; all steps have chunk and time axes in front."""


def selective_scan(
    sequence: tuple[Array, Array, Array, Array], rates: Array, reset: Array, initial: Array, *, chunk: int = 16
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
        times = jnp.arange(output.shape[0])
        pull = partial(_pull, rates, border, states)
        carry, pulled = jax.lax.scan(pull, carry, (chunk, output, times), reverse=True, unroll=unroll())
        return carry, (*pulled, jnp.einsum("tbnc,tbc->tbn", states, output, precision="highest"))

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
    return _sum_states(state, reads[..., None])


def _pull(
    rates: Array, border: Array, states: Array, carry: tuple[Array, Array], now: tuple[_Now, Array, Array]
) -> tuple[tuple[Array, Array], tuple[Array, Array, Array]]:
    """A step backward: the cotangents of the state and, row by row, of the rates; those of inputs, sizes and writes."""
    (state_cotangent, rates_cotangent), (now_, output, t) = carry, now
    inputs, steps, writes, reads, reset = now_
    # Read where they lie: a copy of the states, one step later, takes longer than it saves.
    before = jnp.where(t == 0, border, states[jnp.maximum(t - 1, 0)])
    g = state_cotangent + output[:, None] * reads[..., None]
    through = jnp.where(reset[:, None, None], 0, g * jnp.exp(steps[:, None] * rates[None]))
    exponent = jnp.where(reset[:, None, None], 0, through * before)
    written = _sum_states(g, writes[..., None])
    pulled = (
        steps * written,
        _sum_states(exponent, rates[None]) + inputs * written,
        jnp.einsum("bnc,bc->bn", g, steps * inputs, precision="highest"),
    )
    return (through, rates_cotangent + exponent * steps[:, None]), pulled


def _sum_states(x: Array, weights: Array) -> Array:
    """Sum over the states; a CPU's loop over channels has many lanes, one over so few states has not."""
    if not on_cpu():
        return jnp.sum(x * weights, axis=1)
    return sum((x[:, n] * weights[:, n] for n in range(1, x.shape[1])), start=x[:, 0] * weights[:, 0])
