"""Long sequences in chunks whose insides are computed again for the gradient."""

from collections.abc import Callable
from typing import Any

import jax

from memorax.core.types import Array, Carry


def scan_chunks(
    run: Callable[[Carry, Any], tuple[Carry, Array]], carry: Carry, sequence: Any, chunk: int
) -> tuple[Carry, Array]:
    """Run over time in chunks; only the carries between them are kept for the gradient.

    Args:
        run: `(carry, arrays [batch, time, ...]) -> (carry, outputs [batch, time, ...])`, for any number of steps.
        carry: Before the first step.
        sequence: A pytree of arrays `[batch, time, ...]`.
        chunk: Steps in a chunk; a last chunk takes what is left.

    Returns:
        The carry after the last step, and the outputs `[batch, time, ...]`.
    """
    length = jax.tree.leaves(sequence)[0].shape[1]
    whole = length - length % chunk
    if length <= chunk:
        return run(carry, sequence)
    run = jax.checkpoint(run)

    def cut(x: Array) -> Array:
        return x[:, :whole].reshape(x.shape[0], -1, chunk, *x.shape[2:]).swapaxes(0, 1)

    carry, outputs = jax.lax.scan(run, carry, jax.tree.map(cut, sequence))
    outputs = outputs.swapaxes(0, 1).reshape(outputs.shape[1], whole, *outputs.shape[3:])
    if whole == length:
        return carry, outputs
    carry, rest = run(carry, jax.tree.map(lambda x: x[:, whole:], sequence))
    return carry, jax.numpy.concatenate([outputs, rest], axis=1)
