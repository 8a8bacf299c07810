"""The mathematics of the recurrent cells, with their slopes, for `memorax.kernels.recurrence`."""

import jax
import jax.numpy as jnp

from memorax.core.types import Array
from memorax.kernels.recurrence import Cell, Gates, State


def _gru_step(state: State, x_gates: Gates, h_gates: Gates) -> State:
    (hidden,) = state
    _, update, candidate = _gru_gates(x_gates, h_gates)
    return ((1.0 - update) * candidate + update * hidden,)


def _gru_slopes(state: State, x_gates: Gates, h_gates: Gates) -> tuple[Array, ...]:
    (hidden,) = state
    reset, update, candidate = _gru_gates(x_gates, h_gates)
    to_candidate = (1.0 - update) * (1.0 - jnp.square(candidate))
    to_reset = to_candidate * h_gates[2] * reset * (1.0 - reset)
    to_update = (hidden - candidate) * update * (1.0 - update)
    return update, to_reset, to_update, to_candidate, to_candidate * reset


def _gru_pull(cotangent: State, slopes: tuple[Array, ...]) -> tuple[State, Gates, Gates]:
    (hidden,) = cotangent
    kept, reset, update, candidate, recurrent_candidate = (hidden * slope for slope in slopes)
    return (kept,), (reset, update, candidate), (reset, update, recurrent_candidate)


def _gru_gates(x_gates: Gates, h_gates: Gates) -> Gates:
    reset = jax.nn.sigmoid(x_gates[0] + h_gates[0])
    update = jax.nn.sigmoid(x_gates[1] + h_gates[1])
    return reset, update, jnp.tanh(x_gates[2] + reset * h_gates[2])


def _lstm_step(state: State, x_gates: Gates, h_gates: Gates) -> State:
    cell, _ = state
    write, forget, candidate, read = _lstm_gates(x_gates, h_gates)
    cell = forget * cell + write * candidate
    return cell, read * jnp.tanh(cell)


def _lstm_slopes(state: State, x_gates: Gates, h_gates: Gates) -> tuple[Array, ...]:
    cell, _ = state
    write, forget, candidate, read = _lstm_gates(x_gates, h_gates)
    squashed = jnp.tanh(forget * cell + write * candidate)
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


def _lstm_gates(x_gates: Gates, h_gates: Gates) -> Gates:
    write, forget, candidate, read = (x + h for x, h in zip(x_gates, h_gates, strict=True))
    return jax.nn.sigmoid(write), jax.nn.sigmoid(forget), jnp.tanh(candidate), jax.nn.sigmoid(read)


def _simple_step(state: State, x_gates: Gates, h_gates: Gates) -> State:
    del state
    return (jnp.tanh(x_gates[0] + h_gates[0]),)


def _simple_slopes(state: State, x_gates: Gates, h_gates: Gates) -> tuple[Array, ...]:
    (hidden,) = _simple_step(state, x_gates, h_gates)
    return (1.0 - jnp.square(hidden),)


def _simple_pull(cotangent: State, slopes: tuple[Array, ...]) -> tuple[State, Gates, Gates]:
    (hidden,) = cotangent
    gates = (hidden * slopes[0],)
    return (jnp.zeros_like(hidden),), gates, gates


GRU = Cell(_gru_step, _gru_slopes, _gru_pull)
"""Gates reset, update, candidate; the reset gate acts behind the recurrent product. State `(h,)`."""
LSTM = Cell(_lstm_step, _lstm_slopes, _lstm_pull)
"""Gates input, forget, candidate, output. State `(c, h)`."""
SIMPLE = Cell(_simple_step, _simple_slopes, _simple_pull)
"""One gate: the hyperbolic tangent of the sum. State `(h,)`."""
