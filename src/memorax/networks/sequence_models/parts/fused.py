"""Linen cells that have a fused kernel over time."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp

from memorax.core.types import Array, Carry, PyTree
from memorax.kernels import cells
from memorax.kernels.recurrence import Cell, State, Weights, recur


class Fused(NamedTuple):
    """A fused kernel that replaces a scan of a Linen cell.

    Attributes:
        cell: The equations of the cell.
        weights: Maps the Linen cell's parameters to those of the kernel.
        has_parts: Whether the Linen cell's carry is a tuple rather than one array.
        dtype: Type of inputs and outputs; the recurrence is in the parameters' type, the carry keeps its own.
    """

    cell: Cell
    weights: Callable[[PyTree], Weights]
    has_parts: bool
    dtype: Any = None

    def __call__(self, params: PyTree, inputs: Array, reset: Array, carry: Carry, fresh: Carry) -> tuple[Carry, Array]:
        """Run the cell over a sequence.

        Args:
            params: The Linen cell's parameters.
            inputs: `[batch, time, features]`.
            reset: True where the carry is reset before the step, `[batch, time]`.
            carry: The carry before the first step.
            fresh: The carry at an episode's start.

        Returns:
            The carry after the last step, and the outputs `[batch, time, hidden]`.
        """
        weights = self.weights(params)
        dtype = self.dtype or weights.input_kernels[0].dtype
        weights = weights._replace(input_kernels=tuple(kernel.astype(dtype) for kernel in weights.input_kernels))
        recurrence = weights.recurrent_kernels[0].dtype
        before, start = (tuple(part.astype(recurrence) for part in self._state(x)) for x in (carry, fresh))
        state, outputs = recur(self.cell, weights, inputs.astype(dtype), reset, before, fresh=start)
        state = tuple(part.astype(old.dtype) for part, old in zip(state, self._state(carry), strict=True))
        return (state if self.has_parts else state[0]), outputs.astype(dtype)

    def _state(self, carry: Carry) -> State:
        return tuple(carry) if self.has_parts else (carry,)


def _gru_weights(params: PyTree) -> Weights:
    return Weights(
        tuple(params[name]["kernel"] for name in ("ir", "iz", "in")),
        tuple(params[name]["bias"] for name in ("ir", "iz", "in")),
        tuple(params[name]["kernel"] for name in ("hr", "hz", "hn")),
        (None, None, params["hn"]["bias"]),
    )


def _lstm_weights(params: PyTree) -> Weights:
    return Weights(
        tuple(params[name]["kernel"] for name in ("ii", "if", "ig", "io")),
        tuple(params[name]["bias"] for name in ("hi", "hf", "hg", "ho")),
        tuple(params[name]["kernel"] for name in ("hi", "hf", "hg", "ho")),
        (None, None, None, None),
    )


def _mgu_weights(params: PyTree) -> Weights:
    return Weights(
        tuple(params[name]["kernel"] for name in ("if", "in")),
        tuple(params[name]["bias"] for name in ("if", "in")),
        tuple(params[name]["kernel"] for name in ("hf", "hn")),
        (None, params["hn"]["bias"]),
    )


def _simple_weights(params: PyTree) -> Weights:
    return Weights((params["i"]["kernel"],), (params["i"]["bias"],), (params["h"]["kernel"],), (None,))


_KERNELS: dict[type, Fused] = {
    nn.GRUCell: Fused(cells.GRU, _gru_weights, has_parts=False),
    nn.LSTMCell: Fused(cells.LSTM, _lstm_weights, has_parts=True),
    nn.OptimizedLSTMCell: Fused(cells.LSTM, _lstm_weights, has_parts=True),
    nn.MGUCell: Fused(cells.MGU, _mgu_weights, has_parts=False),
    nn.SimpleCell: Fused(cells.SIMPLE, _simple_weights, has_parts=False),
}


def find_kernel(cell: Any) -> Fused | None:
    """Find the kernel of a Linen cell.

    Args:
        cell: A recurrent cell.

    Returns:
        The kernel; None for other cells, subclasses, other activations, and parameters below float32.
    """
    kernel = _KERNELS.get(type(cell))
    if kernel is None or getattr(cell, "residual", False) or not getattr(cell, "reset_gate", True):
        return None
    usual = cell.activation_fn is nn.tanh and getattr(cell, "gate_fn", nn.sigmoid) is nn.sigmoid
    wide = cell.param_dtype in (jnp.float32, jnp.float64)
    narrow = cell.dtype is None or jnp.promote_types(cell.dtype, cell.param_dtype) == cell.param_dtype
    return kernel._replace(dtype=cell.dtype) if usual and wide and narrow else None
