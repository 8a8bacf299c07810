"""The Hadamard memory: a matrix that is calibrated entry by entry, and written by outer products.

    M_t = M_{t-1} ∘ (1 + tanh(θ_t c_tᵀ)) + v_t k_tᵀ,   y_t = M_t q_t.

The forward pass keeps the matrices at the borders of chunks; the hand-written backward pass computes a chunk's matrices
once more, and goes through it from the end. On CPUs a few rows of the batch are computed at a time, whose matrices fit
into the cache. Forward-mode differentiation is defined for one step only.
"""

from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp

from memorax.core.types import Array
from memorax.kernels.groups import in_groups
from memorax.kernels.platform import unroll

_ENTRIES = 8192
"""Entries of the matrices of those rows of the batch that a CPU computes at a time."""


class HadamardSteps(NamedTuple):
    """What the steps of a sequence do to a matrix.

    Attributes:
        theta: Left factor of the calibration, `[batch, time, rows]`.
        calibration: Its right factor, `[batch, time, columns]`.
        value: What is written, `[batch, time, rows]`.
        key: Where it is written, `[batch, time, columns]`.
        query: Where is read, `[batch, time, columns]`.
    """

    theta: Array
    calibration: Array
    value: Array
    key: Array
    query: Array


_Now = tuple[HadamardSteps, Array]
"""What steps do, and their resets."""


def hadamard_memory(
    steps: HadamardSteps, reset: Array, memory: Array, *, clip: float | None = None, chunk: int = 16
) -> tuple[Array, Array]:
    """Calibrate, write and read a matrix step by step, starting from zero at every reset.

    Args:
        steps: The inputs.
        reset: True where the memory is forgotten before the step, `[batch, time]`.
        memory: The matrix before the first step, `[batch, rows, columns]`; all is computed in its dtype.
        clip: Bound of the entries after each step; None: no bound.
        chunk: How many matrices are kept at once while the gradient is computed.

    Returns:
        The matrix after the last step, and what was read, `[batch, time, rows]`.
    """
    length = reset.shape[1]
    steps = HadamardSteps(*(x.astype(memory.dtype) for x in steps))
    if length == 1:
        memory = _step(clip, memory, (HadamardSteps(*(x[:, 0] for x in steps)), reset[:, 0]))
        return memory, _read(memory, steps.query[:, 0])[:, None]
    chunk = min(chunk, length)

    def cut(x: Array) -> Array:
        """`[batch, time, ...]` to `[chunk, time in the chunk, batch, ...]`; zeros in the last one change nothing."""
        x = jnp.pad(x.swapaxes(0, 1), [(0, -length % chunk)] + [(0, 0)] * (x.ndim - 1))
        return x.reshape(-1, chunk, *x.shape[1:])

    last, read = cast(tuple[Array, Array], _scan(clip, jax.tree.map(cut, (steps, reset)), memory))
    return last, read.reshape(-1, *read.shape[2:])[:length].swapaxes(0, 1)


def _read(memory: Array, query: Array) -> Array:
    return jnp.einsum("bij,bj->bi", memory, query, precision="highest")


def _tanh(theta: Array, calibration: Array) -> Array:
    return jnp.tanh(theta[:, :, None] * calibration[:, None])


def _step(clip: float | None, memory: Array, now: _Now) -> Array:
    """Give the matrix after a step."""
    (theta, calibration, value, key, _), reset = now
    kept = jnp.where(reset[:, None, None], 0, memory)
    memory = kept * (1 + _tanh(theta, calibration)) + value[:, :, None] * key[:, None]
    return memory if clip is None else jnp.clip(memory, -clip, clip)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _scan(clip: float | None, chunks: _Now, memory: Array) -> tuple[Array, Array]:
    """`hadamard_memory` of chunks; each part `[chunk, time in the chunk, batch, ...]`."""
    return _forward(clip, chunks, memory)[0]


def _forward(clip: float | None, chunks: _Now, memory: Array) -> tuple[tuple[Array, Array], Any]:
    def step(memory: Array, now: _Now) -> tuple[Array, Array]:
        memory = _step(clip, memory, now)
        return memory, _read(memory, now[0].query)

    def run(memory: Array, now: _Now) -> tuple[Array, tuple[Array, Array]]:
        last, read = jax.lax.scan(step, memory, now, unroll=unroll())
        return last, (read, memory)

    def all_chunks(chunks: _Now, memory: Array) -> Any:
        last, (read, borders) = jax.lax.scan(run, memory[0, 0], chunks)
        return last[None, None], read, borders[:, None]

    last, read, borders = in_groups(all_chunks, _rows(memory), chunks, memory[None, None], axis=2)
    return (last[0, 0], read), (chunks, borders[:, 0])


def _backward(clip: float | None, residuals: Any, cotangents: tuple[Array, Array]) -> Any:
    chunks, borders = residuals
    last, read = cotangents

    def again(memory: Array, now: _Now) -> tuple[Array, Array]:
        memory = _step(clip, memory, now)
        return memory, memory

    def run(cotangent: Array, now: tuple[_Now, Array, Array]) -> tuple[Array, HadamardSteps]:
        chunk, read, border = now
        _, memories = jax.lax.scan(again, border, chunk, unroll=unroll())
        pull = partial(_pull, clip, border, memories)
        times = jnp.arange(read.shape[0])
        first, pulled = jax.lax.scan(pull, cotangent, (chunk, read, times), reverse=True, unroll=unroll())
        query = jnp.einsum("tbij,tbi->tbj", memories, read, precision="highest")
        return first, HadamardSteps(*pulled, query)

    def all_chunks(chunks: _Now, last: Array, read: Array, borders: Array) -> Any:
        first, pulled = jax.lax.scan(run, last[0, 0], (chunks, read, borders[:, 0]), reverse=True)
        return first[None, None], pulled

    first, pulled = in_groups(all_chunks, _rows(last), chunks, last[None, None], read, borders[:, None], axis=2)
    return (pulled, None), first[0, 0]


_scan.defvjp(_forward, _backward)


def _rows(memory: Array) -> int:
    return max(1, _ENTRIES // memory[0].size)


def _pull(
    clip: float | None, border: Array, memories: Array, cotangent: Array, now: tuple[_Now, Array, Array]
) -> tuple[Array, tuple[Array, Array, Array, Array]]:
    """A step backward: the cotangents of the matrix before it, and of what it consumed but the query."""
    ((theta, calibration, value, key, query), reset), read, t = now
    forget = reset[:, None, None]
    # Read where they lie: a copy of the matrices, one step later, takes longer than it saves.
    before = jnp.where(t == 0, border, memories[jnp.maximum(t - 1, 0)])
    tanh = _tanh(theta, calibration)
    g = cotangent + read[:, :, None] * query[:, None]
    if clip is not None:
        g = jnp.where(jnp.abs(memories[t]) < clip, g, 0)
    slope = jnp.where(forget, 0, g * before * (1 - tanh * tanh))
    pulled = (
        jnp.einsum("bij,bj->bi", slope, calibration, precision="highest"),
        jnp.einsum("bij,bi->bj", slope, theta, precision="highest"),
        jnp.einsum("bij,bj->bi", g, key, precision="highest"),
        jnp.einsum("bij,bi->bj", g, value, precision="highest"),
    )
    return jnp.where(forget, 0, g * (1 + tanh)), pulled
