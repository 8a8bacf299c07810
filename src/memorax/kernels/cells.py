"""The mathematics of the recurrent cells, with their slopes, for `memorax.kernels.recurrence`."""

import jax
import jax.numpy as jnp

from memorax.core.types import Array
from memorax.kernels.recurrence import Cell, Gates, Memo, State


def _gru_step(state: State, x_gates: Gates, h_gates: Gates) -> tuple[State, Memo]:
    (hidden,) = state
    reset = jax.nn.sigmoid(x_gates[0] + h_gates[0])
    update = jax.nn.sigmoid(x_gates[1] + h_gates[1])
    candidate = jnp.tanh(x_gates[2] + reset * h_gates[2])
    return ((1.0 - update) * candidate + update * hidden,), (reset, update, candidate, h_gates[2])


def _gru_slopes(before: State, after: State, memo: Memo) -> tuple[Array, ...]:
    del after
    (hidden,), (reset, update, candidate, recurrent) = before, memo
    to_candidate = (1.0 - update) * (1.0 - jnp.square(candidate))
    to_reset = to_candidate * recurrent * reset * (1.0 - reset)
    to_update = (hidden - candidate) * update * (1.0 - update)
    return update, to_reset, to_update, to_candidate, to_candidate * reset


def _gru_pull(cotangent: State, slopes: tuple[Array, ...]) -> tuple[State, Gates, Gates]:
    (hidden,) = cotangent
    kept, reset, update, candidate, recurrent_candidate = (hidden * slope for slope in slopes)
    return (kept,), (reset, update, candidate), (reset, update, recurrent_candidate)


def _lstm_step(state: State, x_gates: Gates, h_gates: Gates) -> tuple[State, Memo]:
    cell, _ = state
    write, forget, candidate, read = (x + h for x, h in zip(x_gates, h_gates, strict=True))
    write, forget, read = jax.nn.sigmoid(write), jax.nn.sigmoid(forget), jax.nn.sigmoid(read)
    candidate = jnp.tanh(candidate)
    cell = forget * cell + write * candidate
    squashed = jnp.tanh(cell)
    return (cell, read * squashed), (write, forget, candidate, read, squashed)


def _lstm_slopes(before: State, after: State, memo: Memo) -> tuple[Array, ...]:
    del after
    (cell, _), (write, forget, candidate, read, squashed) = before, memo
    to_write = candidate * write * (1.0 - write)
    to_forget = cell * forget * (1.0 - forget)
    to_candidate = write * (1.0 - jnp.square(candidate))
    to_read = squashed * read * (1.0 - read)
    return forget, read * (1.0 - jnp.square(squashed)), to_write, to_forget, to_candidate, to_read


def _lstm_pull(cotangent: State, slopes: tuple[Array, ...]) -> tuple[State, Gates, Gates]:
    cell, hidden = cotangent
    forget, to_cell, to_write, to_forget, to_candidate, to_read = slopes
    cell = cell + hidden * to_cell
    gates = (cell * to_write, cell * to_forget, cell * to_candidate, hidden * to_read)
    return (cell * forget, jnp.zeros_like(hidden)), gates, gates


def _mgu_step(state: State, x_gates: Gates, h_gates: Gates) -> tuple[State, Memo]:
    (hidden,) = state
    forget = jax.nn.sigmoid(x_gates[0] + h_gates[0])
    candidate = jnp.tanh(x_gates[1] + forget * h_gates[1])
    return ((1.0 - forget) * candidate + forget * hidden,), (forget, candidate, h_gates[1])


def _mgu_slopes(before: State, after: State, memo: Memo) -> tuple[Array, ...]:
    del after
    (hidden,), (forget, candidate, recurrent) = before, memo
    to_candidate = (1.0 - forget) * (1.0 - jnp.square(candidate))
    to_forget = (hidden - candidate + to_candidate * recurrent) * forget * (1.0 - forget)
    return forget, to_forget, to_candidate, to_candidate * forget


def _mgu_pull(cotangent: State, slopes: tuple[Array, ...]) -> tuple[State, Gates, Gates]:
    (hidden,) = cotangent
    kept, forget, candidate, recurrent_candidate = (hidden * slope for slope in slopes)
    return (kept,), (forget, candidate), (forget, recurrent_candidate)


def _simple_step(state: State, x_gates: Gates, h_gates: Gates) -> tuple[State, Memo]:
    del state
    return (jnp.tanh(x_gates[0] + h_gates[0]),), ()


def _simple_slopes(before: State, after: State, memo: Memo) -> tuple[Array, ...]:
    del before, memo
    return (1.0 - jnp.square(after[0]),)


def _simple_pull(cotangent: State, slopes: tuple[Array, ...]) -> tuple[State, Gates, Gates]:
    (hidden,) = cotangent
    gates = (hidden * slopes[0],)
    return (jnp.zeros_like(hidden),), gates, gates


GRU = Cell(_gru_step, _gru_slopes, _gru_pull)
"""Gates reset, update, candidate; the reset gate acts behind the recurrent product. State `(h,)`."""
LSTM = Cell(_lstm_step, _lstm_slopes, _lstm_pull)
"""Gates input, forget, candidate, output. State `(c, h)`."""
MGU = Cell(_mgu_step, _mgu_slopes, _mgu_pull)
"""Gates forget, candidate; the forget gate acts behind the recurrent product of the candidate. State `(h,)`."""
SIMPLE = Cell(_simple_step, _simple_slopes, _simple_pull)
"""One gate: the hyperbolic tangent of the sum. State `(h,)`."""
