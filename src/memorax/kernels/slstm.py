"""The recurrence of the sLSTM over time, with exact resets and a hand-written gradient.

With the pre-activations `(i, f, z, o) = gates_t + R h_{t-1}` of every head, `R` `[dim, 4 dim]`::

    m_t = max(logsigmoid(f) + m_{t-1}, i)
    i' = exp(i - m_t),  f' = exp(logsigmoid(f) + m_{t-1} - m_t)
    c_t = f' c_{t-1} + i' tanh(z),  n_t = f' n_{t-1} + i',  h_t = sigmoid(o) c_t / n_t

`m` scales `c` and `n` alike, so `h` does not depend on it: it gets no gradient, and that is exact. It starts at -1e30,
from where one step leaves `n >= 1` for good: nothing has to be added to the denominator. Both passes are scans with one
batched product a step; the backward one carries no more than the gradients of `c`, `n` and `h`, and the recurrent
weights' gradient is one product after it. A single step is differentiated as it stands, forwards as well.
"""

from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp

from memorax.core.types import Array
from memorax.kernels.platform import unroll

START = -1e30
"""The stabilizer before an episode's first step: finite, so that no difference is NaN."""


class State(NamedTuple):
    """What an sLSTM remembers.

    Attributes:
        cell: `c` `[batch, hidden]`.
        normalizer: `n` `[batch, hidden]`.
        hidden: `h` `[batch, hidden]`.
        stabilizer: `m` `[batch, hidden]`.
    """

    cell: Array
    normalizer: Array
    hidden: Array
    stabilizer: Array


class _Memo(NamedTuple):
    """What the backward pass needs of a step, each part `[(time,) heads, batch, dim]`."""

    write: Array
    keep: Array
    candidate: Array
    read: Array
    forget: Array


def initial_state(batch: int, hidden: int) -> State:
    """Give the state before an episode's first step."""
    zeros = jnp.zeros((batch, hidden), jnp.float32)
    return State(zeros, zeros, zeros, jnp.full((batch, hidden), START, jnp.float32))


def slstm(gates: Array, recurrent: Array, reset: Array, state: State) -> tuple[State, Array]:
    """Run the recurrence.

    Args:
        gates: What the inputs give to the gates, `[batch, time, heads, 4 dim]`: write, forget, candidate, read.
        recurrent: `R`, `[heads, dim, 4 dim]`.
        reset: True where the state is replaced by the initial one before the step, `[batch, time]`.
        state: The state before the first step, `hidden = heads dim`.

    Returns:
        The state after the last step, and `h` `[batch, time, heads, dim]`.
    """
    batch, length, (heads, dim) = *gates.shape[:2], recurrent.shape[:2]
    state = State(*(part.reshape(batch, heads, dim).swapaxes(0, 1) for part in state))
    gates, reset = gates.transpose(1, 2, 0, 3), reset.T
    if length == 1:
        state, _ = _step(recurrent, state, gates[0], reset[0])
        outputs = state.hidden[None]
    else:
        # The decorator hides the types of what comes back.
        state, outputs = cast(tuple[State, Array], _scan(gates, recurrent, reset, state))
    state = State(*(part.swapaxes(0, 1).reshape(batch, heads * dim) for part in state))
    return state, outputs.transpose(2, 0, 1, 3)


def _step(recurrent: Array, state: State, gates: Array, reset: Array) -> tuple[State, _Memo]:
    cell, normalizer, hidden, stabilizer = _select(reset, state)
    write, forget, candidate, read = jnp.split(gates + hidden @ recurrent, 4, axis=-1)
    stabilizer = jax.lax.stop_gradient(stabilizer)
    small = jnp.exp(-jnp.abs(forget))  # for a sigmoid and its logarithm; `log_sigmoid` is several times as slow
    decay = jnp.minimum(forget, 0) - jnp.log1p(small) + stabilizer
    stabilizer = jax.lax.stop_gradient(jnp.maximum(decay, write))
    write, keep = jnp.exp(write - stabilizer), jnp.exp(decay - stabilizer)
    candidate, read = jnp.tanh(candidate), jax.nn.sigmoid(read)
    cell = keep * cell + write * candidate
    normalizer = keep * normalizer + write
    state = State(cell, normalizer, read * cell / normalizer, stabilizer)
    slope = jnp.where(forget >= 0, small, 1) / (1 + small)
    return state, _Memo(write, keep, candidate, read, slope)


@jax.custom_vjp
def _scan(gates: Array, recurrent: Array, reset: Array, state: State) -> tuple[State, Array]:
    """`slstm`, time-major: `gates` `[time, heads, batch, 4 dim]`, the state's parts `[heads, batch, dim]`."""

    def step(state: State, now: tuple[Array, Array]) -> tuple[State, Array]:
        return _emit(*_step(recurrent, state, *now))

    return jax.lax.scan(step, state, (gates, reset), unroll=unroll())


def _emit(state: State, memo: _Memo) -> tuple[State, Array]:
    del memo
    return state, state.hidden


def _scan_forward(gates: Array, recurrent: Array, reset: Array, state: State) -> Any:
    def step(state: State, now: tuple[Array, Array]) -> tuple[State, tuple[Array, Array, Array, _Memo]]:
        state, memo = _step(recurrent, state, *now)
        return state, (*state[:3], memo)

    last, (cells, normalizers, outputs, memo) = jax.lax.scan(step, state, (gates, reset), unroll=unroll())
    return (last, outputs), (recurrent, reset, state, cells, normalizers, outputs, memo)


def _scan_backward(residuals: Any, cotangents: Any) -> Any:
    recurrent, reset, state, *states, memo = residuals
    last, output = cotangents
    before = tuple(
        jnp.where(reset[:, None, :, None], 0, jnp.concatenate([first[None], after[:-1]]))
        for first, after in zip(state, states, strict=False)
    )

    transposed = recurrent.swapaxes(1, 2)

    def step(cotangent: tuple[Array, ...], now: Any) -> tuple[tuple[Array, ...], Array]:
        output, reset, cell_before, normalizer_before, cell, normalizer, memo = now
        to_cell, to_normalizer, to_hidden = cotangent
        to_hidden += output
        scaled = to_hidden / normalizer
        ratio = cell / normalizer
        to_cell += scaled * memo.read
        to_normalizer -= scaled * memo.read * ratio
        gates = jnp.concatenate(
            [
                (to_cell * memo.candidate + to_normalizer) * memo.write,
                (to_cell * cell_before + to_normalizer * normalizer_before) * memo.keep * memo.forget,
                to_cell * memo.write * (1.0 - jnp.square(memo.candidate)),
                to_hidden * ratio * memo.read * (1.0 - memo.read),
            ],
            axis=-1,
        )
        back = (to_cell * memo.keep, to_normalizer * memo.keep, gates @ transposed)
        return tuple(jnp.where(reset[:, None], 0, part) for part in back), gates

    now = (output, reset, *before[:2], *states[:2], memo)
    first, gates = jax.lax.scan(step, tuple(last[:3]), now, reverse=True, unroll=unroll())
    to_recurrent = jnp.einsum("thbd,thbg->hdg", before[2], gates)
    return gates, to_recurrent, None, State(first[0], first[1], first[2], jnp.zeros_like(state.stabilizer))


_scan.defvjp(_scan_forward, _scan_backward)


def _select(reset: Array, state: State) -> State:
    """Start afresh where `reset` `[batch]`."""
    return State(*(jnp.where(reset[:, None], fresh, x) for x, fresh in zip(state, (0, 0, 0, START), strict=True)))
