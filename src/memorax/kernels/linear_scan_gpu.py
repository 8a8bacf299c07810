"""The linear scan as one kernel each way for NVIDIA GPUs from Hopper on, written in Pallas for Mosaic GPU.

A thread block owns 128 lanes of one row and walks through time with their states in registers. So every array is read
or written once, which is all that a scan must do; XLA's own forms move three to ten times as much. While one stretch of
steps is computed, the next one is on its way from memory.

Shapes here are `[rows, time, lanes]`; a row is an example of the batch, or one of a mapped axis.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu

from memorax.core.types import Array

LANES = 128
"""Threads of a warpgroup, each with one lane."""
STRETCH = 8
"""Steps whose arrays are read together."""
Parts = tuple[Array, ...]
"""Real numbers, or real and imaginary parts."""


def is_supported(dtype: Any, lanes: int) -> bool:
    """Whether the default device runs the kernel, and its arrays need no padding.

    Args:
        dtype: Of the arrays.
        lanes: Size of a row's state.

    Returns:
        True for float32, a multiple of 128 lanes, and an NVIDIA GPU of compute capability 9.0 or above.
    """
    capability = getattr(jax.devices()[0], "compute_capability", None) or "0"
    return dtype == jnp.float32 and lanes % LANES == 0 and float(capability) >= 9.0


def padded_scan(a: Parts, b: Parts, reset: Array, initial: Parts) -> tuple[Parts, Parts]:
    """Compute the linear scan of `memorax.kernels.linear_scan`, batch first; any number of lanes is padded to 128s.

    Args:
        a: `[batch, time, ...]`, or `[1, 1, ...]` if the same at all times.
        b: `[batch, time, ...]`; axes behind `time` may have size 1.
        reset: `[batch, time]`.
        initial: `[batch, ...]`.

    Returns:
        The last states `[batch, ...]`, and all states `[batch, time, ...]`.
    """
    shape, length = initial[0].shape, reset.shape[1]
    lanes = initial[0][0].size
    padding = -lanes % LANES

    def flat(x: Array, *front: int) -> Array:
        x = jnp.broadcast_to(x, (*front, *shape[1:])).reshape(*front, lanes)
        return jnp.pad(x, [(0, 0)] * len(front) + [(0, padding)]) if padding else x

    front = shape[0], length
    decays = tuple(flat(x[0], shape[0]) if x.shape[1] == 1 else flat(x, *front) for x in a)
    inputs, start = tuple(flat(x, *front) for x in b), tuple(flat(x, shape[0]) for x in initial)
    run = cast(Callable[..., Parts], _scan)  # the decorator hides the types
    states = run(decays, inputs, (~reset).astype(jnp.int32), start)
    states = tuple(x[..., :lanes].reshape(*front, *shape[1:]) for x in states)
    return tuple(x[:, -1] for x in states), states


@jax.custom_vjp
def _scan(a: Parts, b: Parts, keep: Array, initial: Parts) -> Parts:
    return scan(a, b, keep, initial)


def _scan_forward(a: Parts, b: Parts, keep: Array, initial: Parts) -> Any:
    states = scan(a, b, keep, initial)
    return states, (a, states, keep, initial)


def _scan_backward(residuals: Any, outputs: Parts) -> Any:
    a, states, keep, initial = residuals
    to_a, to_b, to_initial = scan_cotangents(a, states, keep, initial, outputs)
    return to_a, to_b, None, to_initial


_scan.defvjp(_scan_forward, _scan_backward)


def scan(a: Parts, b: Parts, keep: Array, initial: Parts) -> Parts:
    """Compute `h_t = a_t keep_t h_{t-1} + b_t`.

    Args:
        a: `[rows, time, lanes]`, or `[rows, lanes]` if the same at all times; float32, and lanes a multiple of 128.
        b: `[rows, time, lanes]`.
        keep: 0 where the state is forgotten before the step, else 1, int32 `[rows, time]`.
        initial: `[rows, lanes]`.

    Returns:
        All states, `[rows, time, lanes]`.
    """
    return _mapped(_forward)(a, b, keep, initial)


def scan_cotangents(a: Parts, states: Parts, keep: Array, initial: Parts, outputs: Parts) -> tuple[Parts, Parts, Parts]:
    """Compute the cotangents of `scan`.

    Args:
        a: As for `scan`.
        states: What `scan` returned.
        keep: As for `scan`.
        initial: As for `scan`.
        outputs: Cotangents of the states, `[rows, time, lanes]`.

    Returns:
        The cotangents of `a`, `b` and `initial`, in their shapes.
    """
    return _mapped(_backward)(a, states, keep, initial, outputs)


def _mapped(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a mapped axis be one more axis of rows."""
    mapped = jax.custom_batching.custom_vmap(function)

    @mapped.def_vmap
    def rule(size: int, batched: Any, *arguments: Any) -> Any:  # pyright: ignore[reportUnusedFunction]
        def fold(x: Array, is_batched: bool) -> Array:
            x = x if is_batched else jnp.broadcast_to(x, (size, *x.shape))
            return x.reshape(-1, *x.shape[2:])

        results = _mapped(function)(*jax.tree.map(fold, arguments, tuple(batched)))
        results = jax.tree.map(lambda x: x.reshape(size, -1, *x.shape[1:]), results)
        return results, jax.tree.map(lambda _: True, results)

    return mapped


def _call(body: Callable[..., None], rows: int, lanes: int, out: Any, *arguments: Any) -> Any:
    """Run a kernel once for each row and each 128 lanes."""
    kernel = plgpu.kernel(body, out_type=out, grid=(rows, lanes // LANES), grid_names=("rows", "lanes"))
    return kernel(*arguments)


def _shape(*shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def _forward(a: Parts, b: Parts, keep: Array, initial: Parts) -> Parts:
    rows, length, lanes = b[0].shape
    parts, steady = len(b), a[0].ndim == 2
    body = partial(_forward_body, parts, length, steady)
    return tuple(_call(body, rows, lanes, (_shape(rows, length, lanes),) * parts, *a, *b, keep, *initial))


def _forward_body(parts: int, length: int, steady: bool, *refs: Any) -> None:
    a, b, (keep,), initial, out = _cut(refs, parts, parts, 1, parts, parts)
    row, lanes = _place()
    decay = tuple(x[row, lanes] for x in a) if steady else ()

    def read(t: Any) -> Any:
        return () if steady else tuple(x[row, t, lanes] for x in a), tuple(x[row, t, lanes] for x in b), keep[row, t]

    def step(t: Any, state: Parts, now: Any) -> Parts:
        factor, summand, kept = now
        state = _add(_multiply(decay if steady else factor, _where(kept, state)), summand)
        for ref, part in zip(out, state, strict=True):
            ref[row, t, lanes] = part
        return state

    _walk(length, tuple(x[row, lanes] for x in initial), read, step, lambda i: i)


def _backward(a: Parts, states: Parts, keep: Array, initial: Parts, outputs: Parts) -> tuple[Parts, Parts, Parts]:
    rows, length, lanes = outputs[0].shape
    parts, steady = len(outputs), a[0].ndim == 2
    whole, ends = (_shape(rows, length, lanes),) * parts, (_shape(rows, lanes),) * parts
    body = partial(_backward_body, parts, length, steady)
    out = (*(ends if steady else whole), *whole, *ends)
    results = _call(body, rows, lanes, out, *a, *states, keep, *initial, *outputs)
    return tuple(results[:parts]), tuple(results[parts : 2 * parts]), tuple(results[2 * parts :])


def _backward_body(parts: int, length: int, steady: bool, *refs: Any) -> None:
    a, states, (keep,), initial, outputs, to_a, to_b, to_initial = _cut(refs, parts, parts, 1, *(parts,) * 5)
    row, lanes = _place()
    decay = tuple(x[row, lanes] for x in a) if steady else ()
    first = tuple(x[row, lanes] for x in initial)

    def read(t: Any) -> Any:
        before = tuple(x[row, jnp.maximum(t - 1, 0), lanes] for x in states)
        factor = () if steady else tuple(x[row, t, lanes] for x in a)
        return factor, before, tuple(x[row, t, lanes] for x in outputs), keep[row, t]

    def step(t: Any, carry: tuple[Parts, Parts], now: Any) -> tuple[Parts, Parts]:
        through, total = carry
        factor, before, output, kept = now
        before = tuple(_select(t == 0, x, y) for x, y in zip(first, before, strict=True))
        g = _add(output, through)
        to_factor = _multiply(_conjugate(_where(kept, before)), g)
        for ref, part in zip(to_b, g, strict=True):
            ref[row, t, lanes] = part
        if steady:
            total = _add(total, to_factor)
        else:
            for ref, part in zip(to_a, to_factor, strict=True):
                ref[row, t, lanes] = part
        return _where(kept, _multiply(_conjugate(decay if steady else factor), g)), total

    through = tuple(jnp.zeros_like(x) for x in first)
    total = through if steady else ()
    through, total = _walk(length, (through, total), read, step, lambda i: length - 1 - i)
    for ref, part in zip(to_initial, through, strict=True):
        ref[row, lanes] = part
    if steady:
        for ref, part in zip(to_a, total, strict=True):
            ref[row, lanes] = part


def _walk(
    length: int,
    carry: Any,
    read: Callable[[Any], Any],
    step: Callable[[Any, Any, Any], Any],
    time: Callable[[Any], Any],
) -> Any:
    """Take all steps, in the order of `time`, with the next stretch being read while one is computed."""
    stretches = length // STRETCH

    def fetch(i: Any) -> Any:
        return [read(time(i * STRETCH + k)) for k in range(STRETCH)]

    def run(i: Any, state: Any) -> Any:
        carry, now = state
        later = fetch(jnp.minimum(i + 1, stretches - 1))
        for k in range(STRETCH):
            carry = step(time(i * STRETCH + k), carry, now[k])
        return carry, later

    if stretches:
        carry, _ = lax.fori_loop(0, stretches, run, (carry, fetch(0)))
    for i in range(stretches * STRETCH, length):
        carry = step(time(i), carry, read(time(i)))
    return carry


def _place() -> tuple[Any, Any]:
    return lax.axis_index("rows"), pl.ds(lax.axis_index("lanes") * LANES, LANES)


def _cut(refs: tuple[Any, ...], *sizes: int) -> list[tuple[Any, ...]]:
    groups = []
    for size in sizes:
        groups.append(refs[:size])
        refs = refs[size:]
    return groups


def _select(condition: Any, x: Array, y: Array) -> Array:
    """Choose by a scalar; Mosaic GPU broadcasts nothing by itself."""
    return lax.select(lax.broadcast(condition, (LANES,)), x, y)


def _where(kept: Any, parts: Parts) -> Parts:
    """Zero unless kept; by selection, which stops a NaN."""
    return tuple(_select(kept != 0, x, jnp.zeros_like(x)) for x in parts)


def _multiply(x: Parts, y: Parts) -> Parts:
    if len(x) == 1:
        return (x[0] * y[0],)
    return x[0] * y[0] - x[1] * y[1], x[0] * y[1] + x[1] * y[0]


def _add(x: Parts, y: Parts) -> Parts:
    return tuple(left + right for left, right in zip(x, y, strict=True))


def _conjugate(x: Parts) -> Parts:
    return x if len(x) == 1 else (x[0], -x[1])
