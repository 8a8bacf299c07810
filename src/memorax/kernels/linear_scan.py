"""Linear recurrences over time with exact resets: `h_t = a_t h_{t-1} + b_t`, real or complex.

A complex array is a pair of real ones `(real, imaginary)`: as fast in the scan as a complex array on a CPU, and nothing
has to be interleaved before it or picked apart behind it. The gradient is written by hand: it keeps the decays and the
states, and nothing of what a parallel form computes on its way. Backward it is the same recurrence in reverse,
`g_t = dh_t + a_{t+1} g_{t+1}`, and `da_t = h_{t-1} g_t`, `db_t = g_t`, with conjugates of `a` and `h`.

For T steps the sequential form does T small operations, the blocked one about 2 sqrt(T) for twice the work, the
associative one log(T) for several times the work, and "pallas" is a single kernel each way that reads and writes every
array once, for NVIDIA GPUs from Hopper on (see `memorax.kernels.linear_scan_gpu`). Forward-mode differentiation is
defined for one step only.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, TypeVar, cast, get_args

import jax
import jax.numpy as jnp

from memorax.core.devices import row_devices
from memorax.core.types import Array
from memorax.kernels.platform import on_cpu

Number = TypeVar("Number", Array, tuple[Array, Array])
"""Real numbers, or complex ones as real and imaginary part."""
Method = Literal["sequential", "blocked", "associative", "pallas"]
"""How to compute a scan."""
GPU_METHOD: Method = "pallas"
"""What a GPU computes by, where the device and the shapes allow it."""
_Parts = tuple[Array, ...]


def linear_scan(
    a: Number, b: Number, reset: Array, initial: Number, *, method: Method | None = None
) -> tuple[Number, Number]:
    """Compute `h_t = a_t h_{t-1} + b_t` for all steps, starting from zero at every reset.

    Args:
        a: Decays `[batch, time, ...]`, or `[...]` if they are the same at all times, which costs no memory.
        b: Inputs `[batch, time, ...]`; axes behind `time` may have size 1 and are broadcast.
        reset: True where the state is forgotten before the step, `[batch, time]`.
        initial: The state before the first step, `[batch, ...]`.
        method: How to compute; None chooses by the platform: "sequential" on a CPU, "associative" elsewhere.

    Returns:
        The state after the last step `[batch, ...]`, and the states of all steps `[batch, time, ...]`: pairs where the
        arguments are pairs.

    Raises:
        ValueError: If `method` is unknown.
    """
    if method is not None and method not in get_args(Method):
        raise ValueError(f"`method` must be one of {', '.join(get_args(Method))} or None, got {method!r}")
    decays, inputs, first = _parts(a), _parts(b), _parts(initial)
    dtype = jnp.result_type(*decays, *inputs, *first)
    steady = decays[0].ndim == first[0].ndim - 1
    decays = tuple((x[None, None] if steady else x.swapaxes(0, 1)).astype(dtype) for x in decays)
    inputs = tuple(x.swapaxes(0, 1).astype(dtype) for x in inputs)
    start = tuple(x.astype(dtype) for x in first)
    method = method or _choose(start)
    if reset.shape[1] == 1:
        kept = _mask(reset[:, 0], start)
        last = _add(_multiply(tuple(x[0] for x in decays), kept), tuple(x[0] for x in inputs))
        states = tuple(x[None] for x in last)
    elif method == "pallas":
        from memorax.kernels.linear_scan_gpu import padded_scan  # noqa: PLC0415  GPUs only, and slow to import

        batch_major = (tuple(x.swapaxes(0, 1) for x in parts) for parts in (decays, inputs))
        last, states = padded_scan(next(batch_major), next(batch_major), reset, start)
        states = tuple(x.swapaxes(0, 1) for x in states)
    else:
        scan = cast(Callable[..., tuple[_Parts, _Parts]], _scan)  # the decorator hides the types
        last, states = scan(method, decays, inputs, reset.T, start)
    last = tuple(x.astype(y.dtype) for x, y in zip(last, first, strict=True))
    states = tuple(x.swapaxes(0, 1) for x in states)
    return cast(tuple[Number, Number], (last, states) if isinstance(b, tuple) else (last[0], states[0]))


def _choose(first: _Parts) -> Method:
    if on_cpu():
        return "sequential"
    if GPU_METHOD == "pallas":
        from memorax.kernels.linear_scan_gpu import is_supported  # noqa: PLC0415  as above

        # XLA cannot split a kernel of our own over the devices of rows.
        whole = row_devices() == 1
        return "pallas" if whole and is_supported(first[0].dtype, first[0][0].size) else "associative"
    return GPU_METHOD


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _scan(method: Method, a: _Parts, b: _Parts, reset: Array, initial: _Parts) -> tuple[_Parts, _Parts]:
    """`linear_scan`, time-major: `b` `[time, batch, ...]`, `a` likewise or `[1, 1, ...]`."""
    return _FORMS[method](a, b, reset, initial)


def _scan_forward(method: Method, a: _Parts, b: _Parts, reset: Array, initial: _Parts) -> Any:
    last, states = _FORMS[method](a, b, reset, initial)
    # The inputs are not needed, only how they were broadcast.
    return (last, states), (a, [jnp.zeros((0, *x.shape)) for x in b], reset, initial, states)


def _scan_backward(method: Method, residuals: Any, cotangents: Any) -> Any:
    a, shapes, reset, initial, states = residuals
    last, outputs = cotangents
    # The transpose of a complex product, of pairs, is the product with the conjugate.
    conjugate = a if len(a) == 1 else (a[0], -a[1])
    if method == "sequential":
        first, g = _sequential_reverse(conjugate, outputs, reset, last)
    else:
        outputs = tuple(x.at[-1].add(y) for x, y in zip(outputs, last, strict=True))
        later = tuple(x if x.shape[0] == 1 else jnp.roll(x, -1, axis=0) for x in conjugate)
        barrier = jnp.roll(reset, -1, axis=0).at[-1].set(True)
        flipped = (tuple(x if x.shape[0] == 1 else x[::-1] for x in parts) for parts in (later, outputs))
        zero = tuple(jnp.zeros_like(x) for x in initial)
        _, g = _FORMS[method](next(flipped), next(flipped), barrier[::-1], zero)
        g = tuple(x[::-1] for x in g)
        first = _mask(reset[0], _multiply(tuple(x[0] for x in conjugate), tuple(x[0] for x in g)))
    before = tuple(jnp.concatenate([x[None], y[:-1]]) for x, y in zip(initial, states, strict=True))
    before = _mask(reset, before)
    if len(before) == 2:
        before = (before[0], -before[1])
    a_cotangent = tuple(_sum_to(x, y.shape) for x, y in zip(_multiply(before, g), a, strict=True))
    return a_cotangent, tuple(_sum_to(x, y.shape[1:]) for x, y in zip(g, shapes, strict=True)), None, first


_scan.defvjp(_scan_forward, _scan_backward)


def _sequential(a: _Parts, b: _Parts, reset: Array, initial: _Parts) -> tuple[_Parts, _Parts]:
    steady = a[0].shape[0] == 1

    def step(state: _Parts, now: tuple[_Parts, _Parts, Array]) -> tuple[_Parts, _Parts]:
        decay, new, reset = now
        state = _add(_multiply(tuple(x[0] for x in a) if steady else decay, _mask(reset, state)), new)
        return state, state

    return jax.lax.scan(step, initial, (() if steady else a, b, reset))


def _sequential_reverse(a: _Parts, outputs: _Parts, reset: Array, last: _Parts) -> tuple[_Parts, _Parts]:
    """`g_t = outputs_t + a_{t+1} g_{t+1}`, and what is left before the first step."""
    steady = a[0].shape[0] == 1

    def step(g: _Parts, now: tuple[_Parts, _Parts, Array]) -> tuple[_Parts, _Parts]:
        decay, output, reset = now
        g = _add(g, output)
        return _mask(reset, _multiply(tuple(x[0] for x in a) if steady else decay, g)), g

    return jax.lax.scan(step, last, (() if steady else a, outputs, reset), reverse=True)


def _blocked(a: _Parts, b: _Parts, reset: Array, initial: _Parts) -> tuple[_Parts, _Parts]:
    """All blocks at once from zero, then the states at their borders in sequence, then both together."""
    length, steady = reset.shape[0], a[0].shape[0] == 1
    size = 2 ** max(1, round(math.log2(length) / 2))
    count = -(-length // size)

    def cut(x: Array) -> Array:
        """`[time, ...]` to `[step in the block, block, ...]`."""
        x = jnp.pad(x, [(0, count * size - length)] + [(0, 0)] * (x.ndim - 1))
        return x.reshape(count, size, *x.shape[1:]).swapaxes(0, 1)

    b = tuple(jnp.broadcast_to(x, (length, *y.shape)) for x, y in zip(b, initial, strict=True))
    a_cut, b_cut, reset_cut = jax.tree.map(cut, (() if steady else a, b, reset))

    def step(state: tuple[_Parts, _Parts, Array], now: tuple[_Parts, _Parts, Array]) -> Any:
        local, product, seen = state
        decay, new, reset = now
        decay = tuple(x for x in a) if steady else decay
        local = _add(_multiply(decay, _mask(reset, local)), new)
        state = local, _multiply(decay, product), seen | reset
        return state, state

    one = tuple(jnp.full_like(x[0] if not steady else x, 1 - i) for i, x in enumerate(a_cut or a))
    start = tuple(jnp.zeros_like(x[0]) for x in b_cut), one, jnp.zeros_like(reset_cut[0])
    _, (local, product, seen) = jax.lax.scan(step, start, (a_cut, b_cut, reset_cut))

    def cross(border: _Parts, now: tuple[_Parts, _Parts, Array]) -> tuple[_Parts, _Parts]:
        local, product, seen = now
        return _add(local, _mask(seen, _multiply(product, border))), border

    ends = tuple(x[-1] for x in local), tuple(jnp.broadcast_to(x[-1], x.shape[1:]) for x in product), seen[-1]
    if steady:
        ends = ends[0], tuple(jnp.broadcast_to(x, (count, *x.shape[1:])) for x in ends[1]), ends[2]
    _, borders = jax.lax.scan(cross, initial, ends)
    states = _add(local, _mask(seen, _multiply(product, tuple(x[None] for x in borders))))
    states = tuple(x.swapaxes(0, 1).reshape(-1, *x.shape[2:])[:length] for x in states)
    return tuple(x[-1] for x in states), states


def _associative(a: _Parts, b: _Parts, reset: Array, initial: _Parts) -> tuple[_Parts, _Parts]:
    length = reset.shape[0]
    b = tuple(jnp.broadcast_to(x, (length, *y.shape)) for x, y in zip(b, initial, strict=True))
    carried = _multiply(tuple(x[0] for x in a), _mask(reset[0], initial))
    b = tuple(x.at[0].add(y) for x, y in zip(b, carried, strict=True))
    decays = tuple(jnp.broadcast_to(x, (length, *x.shape[1:])) for x in a)

    def combine(early: Any, late: Any) -> Any:
        a1, b1, reset1 = early
        a2, b2, reset2 = late
        return _multiply(a2, a1), _add(b2, _mask(reset2, _multiply(a2, b1))), reset1 | reset2

    _, states, _ = jax.lax.associative_scan(combine, (decays, b, reset))
    return tuple(x[-1] for x in states), states


_FORMS = {"sequential": _sequential, "blocked": _blocked, "associative": _associative}


def _parts(x: Array | _Parts) -> _Parts:
    return x if isinstance(x, tuple) else (x,)


def _multiply(x: _Parts, y: _Parts) -> _Parts:
    if len(x) == 1:
        return (x[0] * y[0],)
    return x[0] * y[0] - x[1] * y[1], x[0] * y[1] + x[1] * y[0]


def _add(x: _Parts, y: _Parts) -> _Parts:
    return tuple(left + right for left, right in zip(x, y, strict=True))


def _mask(reset: Array, parts: _Parts) -> _Parts:
    """Zero where `reset`, which lacks the last axes; by selection, which stops a NaN."""
    return tuple(jnp.where(reset.reshape(reset.shape + (1,) * (x.ndim - reset.ndim)), 0, x) for x in parts)


def _sum_to(x: Array, shape: tuple[int, ...]) -> Array:
    """Sum over the axes along which `shape` was broadcast."""
    axes = tuple(i for i, (n, m) in enumerate(zip(x.shape, shape, strict=True)) if n != m)
    return jnp.sum(x, axis=axes, keepdims=True) if axes else x
