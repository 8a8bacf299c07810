"""Cutting a long recurrence into pieces whose intermediate results stay in the processor's cache."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from memorax.core.types import Array, Carry

Recurrence = Callable[[Array, Array, Carry], tuple[Carry, Array]]
"""`(inputs [time, batch, features], reset [time, batch], carry) -> (carry, outputs [time, batch, features])`."""

_CACHED_ELEMENTS = 1 << 19
"""Pieces of this many outputs keep the ten or so arrays of the backward pass within a few MiB each."""
_SHORTEST = 16
"""A piece of fewer steps costs more in bookkeeping than it saves."""


def scan_pieces(
    recurrence: Recurrence, inputs: Array, reset: Array, carry: Carry, *, width: int
) -> tuple[Carry, Array]:
    """Run a recurrence over pieces of the time axis.

    The recurrence recomputes in its backward pass what it needs, piece by piece: the memory of a gradient is that of
    the inputs and outputs plus one piece.

    Args:
        recurrence: What to run; it must give the same results for any way to cut the time axis.
        inputs: `[time, batch, features]`.
        reset: `[time, batch]`.
        carry: The state before the first step.
        width: Size of an output vector.

    Returns:
        The state after the last step, and the outputs `[time, batch, width]`.
    """
    time, batch = reset.shape
    length = max(_SHORTEST, _CACHED_ELEMENTS // (batch * width))
    pieces = time // length
    if pieces < 2:
        return recurrence(inputs, reset, carry)
    whole = pieces * length

    def cut(x: Array) -> Array:
        return x[:whole].reshape(pieces, length, *x.shape[1:])

    def run(carry: Carry, piece: tuple[Array, Array]) -> tuple[Carry, Array]:
        return recurrence(*piece, carry)

    carry, outputs = jax.lax.scan(run, carry, (cut(inputs), cut(reset)))
    outputs = outputs.reshape(whole, *outputs.shape[2:])
    if whole == time:
        return carry, outputs
    carry, rest = recurrence(inputs[whole:], reset[whole:], carry)
    return carry, jnp.concatenate([outputs, rest])
