"""Gated recurrences over time with exact resets: one hand-written gradient for all of them.

A cell is elementwise but for one product per gate: `state' = step(state, x_gates, h_gates)` with
`x_gates = inputs @ input_kernels + input_biases` and `h_gates = h @ recurrent_kernels + recurrent_biases`, where `h` is
the last part of the state. Forward-mode differentiation is not defined.

For small batches everything that does not need the step before is taken out of the scans: the `x_gates` of all steps
are one product, the backward scan carries only the state's gradient, its slopes are computed for all steps at once
before it, and the weights' gradients after it. A step of a large batch keeps the cores busy by itself, and then what
costs is to write all steps' intermediates to memory and read them again: both scans do everything on their way.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp

from memorax.core.types import Array
from memorax.kernels.platform import on_cpu, unroll

State = tuple[Array, ...]
"""What a cell remembers, each part `[..., hidden]`; the last part is the output."""
Gates = tuple[Array, ...]
"""One array `[..., hidden]` for each gate."""
Memo = tuple[Array, ...]
"""What a step leaves for the backward pass, each part `[..., hidden]`."""


LARGE_BATCH = 64
"""From this batch size on, the scans keep nothing that they can compute on their way."""


class Cell(NamedTuple):
    """The elementwise mathematics of a recurrent cell.

    Attributes:
        step: `(state, x_gates, h_gates) -> (state, memo)`, where the memo holds what `slopes` would have to compute
            again.
        slopes: `(state before, state after, memo) -> slopes`: whatever `pull` needs of a step that is over.
        pull: `(state cotangent after, slopes) -> (direct state cotangent before, x_gate cotangents, h_gate
            cotangents)`, where direct means not through the gates.
    """

    step: Callable[[State, Gates, Gates], tuple[State, Memo]]
    slopes: Callable[[State, State, Memo], tuple[Array, ...]]
    pull: Callable[[State, tuple[Array, ...]], tuple[State, Gates, Gates]]


class Weights(NamedTuple):
    """Parameters of a cell, one entry for each gate.

    Attributes:
        input_kernels: `[features, hidden]`.
        input_biases: `[hidden]`.
        recurrent_kernels: `[hidden, hidden]`.
        recurrent_biases: `[hidden]` where a bias must stay inside the recurrent product, else None.
    """

    input_kernels: tuple[Array, ...]
    input_biases: tuple[Array, ...]
    recurrent_kernels: tuple[Array, ...]
    recurrent_biases: tuple[Array | None, ...]


def recur(
    cell: Cell, weights: Weights, inputs: Array, reset: Array, state: State, *, fresh: State
) -> tuple[State, Array]:
    """Run a cell over time.

    Args:
        cell: Its mathematics.
        weights: Its parameters; input kernels may be narrower than float32, and then are of the inputs' type.
        inputs: `[batch, time, features]`.
        reset: True where the state is replaced by `fresh` before the step, `[batch, time]`.
        state: The state before the first step, each part `[batch, hidden]`.
        fresh: The state at an episode's start, each part `[batch or 1, hidden]`; it gets no gradient.

    Returns:
        The state after the last step, and the outputs `[batch, time, hidden]`.
    """
    fresh = jax.lax.stop_gradient(fresh)
    if inputs.shape[1] == 1:
        state = _select(reset[:, 0], fresh, state)
        last, _ = cell.step(state, _project(weights, inputs[:, 0]), _recur(weights, state[-1]))
        return last, last[-1][:, None]
    time_major = inputs.swapaxes(0, 1), reset.swapaxes(0, 1)
    # The decorator hides the types of what comes back.
    last, outputs = cast(tuple[State, Array], _scan(cell, weights, *time_major, state, fresh))
    return last, outputs.swapaxes(0, 1)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _scan(cell: Cell, weights: Weights, inputs: Array, reset: Array, state: State, fresh: State) -> tuple[State, Array]:
    """`recur`, time-major: `inputs` `[time, batch, features]`."""
    state, (states, _) = _forward(cell, weights, inputs, reset, state, fresh)
    return state, states[-1]


def _scan_forward(cell: Cell, weights: Weights, inputs: Array, reset: Array, state: State, fresh: State) -> Any:
    last, history = _forward(cell, weights, inputs, reset, state, fresh)
    return (last, history[0][-1]), (weights, inputs, reset, state, fresh, history)


def _scan_backward(cell: Cell, residuals: Any, cotangents: Any) -> Any:
    backward = _backward_on_the_way if _is_large(residuals[1]) else _backward_at_once
    return backward(cell, residuals, cotangents)


def _backward_at_once(cell: Cell, residuals: Any, cotangents: Any) -> Any:
    """Scan the state's gradient only."""
    weights, inputs, reset, state, fresh, (states, memo) = residuals
    last_cotangent, output_cotangent = cotangents
    before = tuple(jnp.concatenate([first[None], all_[:-1]]) for first, all_ in zip(state, states, strict=True))
    before = _select(reset, fresh, before)
    slopes = cell.slopes(before, states, memo)
    transposed = tuple(kernel.T for kernel in weights.recurrent_kernels)
    stacked = None if on_cpu() else jnp.concatenate(transposed)

    def step(cotangent: State, now: tuple[Array, tuple[Array, ...], Array]) -> tuple[State, State]:
        output_cotangent, slopes, reset = now
        cotangent = (*cotangent[:-1], cotangent[-1] + output_cotangent)
        direct, _, h_gates = cell.pull(cotangent, slopes)
        if stacked is None:
            through = sum((gate @ kernel for gate, kernel in zip(h_gates, transposed, strict=True)), start=direct[-1])
        else:
            through = direct[-1] + jnp.concatenate(h_gates, axis=-1) @ stacked
        zero = tuple(jnp.zeros_like(part) for part in direct)
        return _select(reset, zero, (*direct[:-1], through)), cotangent

    first_cotangent, all_cotangents = jax.lax.scan(
        step, last_cotangent, (output_cotangent, slopes, reset), reverse=True, unroll=unroll()
    )
    _, x_gates, h_gates = cell.pull(all_cotangents, slopes)
    narrow = tuple(gate.astype(inputs.dtype) for gate in x_gates)
    weight_cotangents = Weights(
        tuple(_outer(inputs, gate) for gate in narrow),
        tuple(jnp.sum(gate, axis=(0, 1)) for gate in x_gates),
        tuple(_outer(before[-1], gate) for gate in h_gates),
        tuple(
            None if bias is None else jnp.sum(gate, axis=(0, 1))
            for gate, bias in zip(h_gates, weights.recurrent_biases, strict=True)
        ),
    )
    input_cotangent = sum(gate @ kernel.T for gate, kernel in zip(narrow, weights.input_kernels, strict=True))
    return weight_cotangents, input_cotangent, None, first_cotangent, None


def _backward_on_the_way(cell: Cell, residuals: Any, cotangents: Any) -> Any:
    """Scan the state's gradient and sum up the weights' gradients in the same steps."""
    weights, inputs, reset, state, fresh, (states, memo) = residuals
    last_cotangent, output_cotangent = cotangents
    recurrent, projecting = (
        tuple(kernel.T for kernel in kernels) for kernels in (weights.recurrent_kernels, weights.input_kernels)
    )

    def step(carry: tuple[State, Any], t: Array) -> tuple[tuple[State, Any], Any]:
        cotangent, sums = carry
        before = tuple(
            jnp.where(t == 0, first, all_[jnp.maximum(t - 1, 0)]) for first, all_ in zip(state, states, strict=True)
        )
        before = _select(reset[t], fresh, before)
        slopes = cell.slopes(before, tuple(part[t] for part in states), tuple(part[t] for part in memo))
        cotangent = (*cotangent[:-1], cotangent[-1] + output_cotangent[t])
        direct, x_gates, h_gates = cell.pull(cotangent, slopes)
        through = sum((gate @ kernel for gate, kernel in zip(h_gates, recurrent, strict=True)), start=direct[-1])
        narrow = tuple(gate.astype(inputs.dtype) for gate in x_gates)
        new = (
            tuple(_outer(inputs[t], gate) for gate in narrow),
            tuple(jnp.sum(gate, axis=0) for gate in x_gates),
            tuple(_outer(before[-1], gate) for gate in h_gates),
            tuple(jnp.sum(gate, axis=0) for gate in h_gates),
        )
        zero = tuple(jnp.zeros_like(part) for part in direct)
        cotangent = _select(reset[t], zero, (*direct[:-1], through))
        input_cotangent = sum(gate @ kernel for gate, kernel in zip(narrow, projecting, strict=True))
        return (cotangent, jax.tree.map(lambda x, y: x + y.astype(x.dtype), sums, new)), input_cotangent

    # Sums over time are kept in the parameters' own type, which may be wider than that of the products.
    wide = weights.recurrent_kernels[0].dtype
    kernels = tuple(jnp.zeros(kernel.shape, wide) for kernel in weights.input_kernels)
    biases = tuple(jnp.zeros(kernel.shape[1:], wide) for kernel in weights.recurrent_kernels)
    zeros = kernels, biases, tuple(jnp.zeros_like(kernel) for kernel in weights.recurrent_kernels), biases
    times = jnp.arange(inputs.shape[0])
    (first_cotangent, sums), input_cotangent = jax.lax.scan(step, (last_cotangent, zeros), times, reverse=True)
    kernels, biases, recurrent_kernels, recurrent_biases = sums
    weight_cotangents = Weights(
        tuple(x.astype(inputs.dtype) for x in kernels),
        biases,
        recurrent_kernels,
        tuple(None if b is None else x for x, b in zip(recurrent_biases, weights.recurrent_biases, strict=True)),
    )
    return weight_cotangents, input_cotangent, None, first_cotangent, None


_scan.defvjp(_scan_forward, _scan_backward)


def _forward(
    cell: Cell, weights: Weights, inputs: Array, reset: Array, state: State, fresh: State
) -> tuple[State, tuple[State, Memo]]:
    """Run over time; return the last state, and all states with all memos, which nobody may need."""
    large = _is_large(inputs)
    wide = None if on_cpu() else jnp.concatenate(weights.recurrent_kernels, axis=1)

    def step(state: State, now: tuple[Any, Array]) -> tuple[State, tuple[State, Memo]]:
        inputs, reset = now
        x_gates = _project(weights, inputs) if large else inputs
        state = _select(reset, fresh, state)
        state, memo = cell.step(state, x_gates, _recur(weights, state[-1], wide))
        return state, (state, memo)

    return jax.lax.scan(step, state, (inputs if large else _project(weights, inputs), reset), unroll=unroll())


def _is_large(inputs: Array) -> bool:
    """Whether a step keeps a CPU busy; a GPU's scan has a launch per operation, and little is best there."""
    return inputs.shape[1] >= LARGE_BATCH and on_cpu()


def _project(weights: Weights, inputs: Array) -> Gates:
    return tuple(
        _add(inputs @ kernel, bias) for kernel, bias in zip(weights.input_kernels, weights.input_biases, strict=True)
    )


def _recur(weights: Weights, hidden: Array, wide: Array | None = None) -> Gates:
    """What the hidden state gives to the gates; `wide` has the kernels of all gates side by side.

    On a CPU there is one product per gate: a single wide one has to be cut apart again, which costs more than it
    saves. On a GPU it saves launches, and the cuts are part of what comes after them.
    """
    if wide is None:
        products = [hidden @ kernel for kernel in weights.recurrent_kernels]
    else:
        products = jnp.split(hidden @ wide, len(weights.recurrent_kernels), axis=-1)
    return tuple(
        product if bias is None else _add(product, bias)
        for product, bias in zip(products, weights.recurrent_biases, strict=True)
    )


def _add(product: Array, bias: Array) -> Array:
    return product + jnp.expand_dims(bias, range(product.ndim - 1))


def _select(reset: Array, fresh: State, state: State) -> State:
    def select(new: Array, old: Array) -> Array:
        return jnp.where(reset[..., None], jnp.expand_dims(new, range(old.ndim - new.ndim)), old)

    return tuple(select(new, old) for new, old in zip(fresh, state, strict=True))


def _outer(left: Array, right: Array) -> Array:
    """The sum over time and batch of the outer products, as one matrix product."""
    return left.reshape(-1, left.shape[-1]).T @ right.reshape(-1, right.shape[-1])
