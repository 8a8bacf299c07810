"""Long sequences in chunks of time, whose insides are computed again for the gradient."""

from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp

from memorax.core.types import Array, Carry
from memorax.kernels.platform import on_cpu
from memorax.networks.sequence_models.parts.cell import ConfiguredModule

LONG = 1024
"""Steps of a sequence from which on a CPU takes it in chunks."""
CHUNK = 64
"""Steps of a chunk: what is computed in one stays in the cache."""


def unroll_in_chunks(cell: nn.Module, method: str, carry: Carry, inputs: Array, done: Array) -> tuple[Carry, Array]:
    """Compute a sequence by a cell; on CPUs a long one in chunks, of which the gradient keeps the carries between them.

    A quarter of the memory or less, and the time of computing it twice is less than that of moving it. What cells from
    elsewhere sow would have to be joined, so these compute a sequence of any length at once.

    Args:
        cell: The cell.
        method: Its method for a sequence, `(carry, inputs, done) -> (carry, outputs)`.
        carry: The carry before the first step.
        inputs: `[batch, time, features]`.
        done: True where the memory is reset before the step, `[batch, time]`.

    Returns:
        The carry after the last step, and the outputs `[batch, time, features]`.
    """
    length = inputs.shape[1]
    if length < LONG or not on_cpu() or not isinstance(cell, ConfiguredModule) or cell.is_initializing():
        return getattr(cell, method)(carry, inputs, done)

    def run(cell: nn.Module, carry: Carry, now: tuple[Array, Array]) -> tuple[Carry, Array]:
        return getattr(cell, method)(carry, *now)

    whole = length - length % CHUNK

    def cut(x: Array) -> Array:
        return x[:, :whole].reshape(x.shape[0], -1, CHUNK, *x.shape[2:]).swapaxes(0, 1)

    remat = nn.remat(run, prevent_cse=False)
    scan = nn.scan(remat, variable_broadcast="params", split_rngs={"params": False})
    carry, outputs = scan(cell, carry, jax.tree.map(cut, (inputs, done)))
    outputs = cast(Any, outputs).swapaxes(0, 1).reshape(inputs.shape[0], whole, -1)
    if whole == length:
        return carry, outputs
    carry, rest = run(cell, carry, (inputs[:, whole:], done[:, whole:]))
    return carry, jnp.concatenate([outputs, rest], axis=1)
