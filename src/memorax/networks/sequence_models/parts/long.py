"""Long sequences in chunks of time, whose insides are computed again for the gradient."""

from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp

from memorax.core.types import Array, Carry
from memorax.kernels.platform import on_cpu
from memorax.networks.flat_layers import flat_layers

LONG = 1024
"""Steps of a sequence from which on a CPU takes it in chunks."""
CHUNK = 64
"""Steps of a chunk of a cell: what is computed in one stays in the cache."""


def unroll_in_chunks(
    module: nn.Module, method: str, carry: Carry, inputs: Array, done: Array, *, chunk: int | None
) -> tuple[Carry, Array]:
    """Compute a sequence; on CPUs a long one in chunks, of which the gradient keeps the carries between them.

    A quarter of the memory or less, and the time of computing it twice is less than that of moving it.

    Args:
        module: What computes it.
        method: Its method for a sequence, `(carry, inputs, done) -> (carry, outputs)`.
        carry: The carry before the first step.
        inputs: `[batch, time, features]`.
        done: True where the memory is reset before the step, `[batch, time]`.
        chunk: Steps of a chunk; None: a sequence of any length is computed at once. What a module sows or drops out
            would have to be joined, so that of others must not be cut.

    Returns:
        The carry after the last step, and the outputs `[batch, time, features]`.
    """
    length = inputs.shape[1]
    if chunk is None or length < LONG or not on_cpu() or module.is_initializing():
        with flat_layers():
            return getattr(module, method)(carry, inputs, done)

    def run(module: nn.Module, carry: Carry, now: tuple[Array, Array]) -> tuple[Carry, Array]:
        with flat_layers():
            return getattr(module, method)(carry, *now)

    whole = length - length % chunk

    def cut(x: Array) -> Array:
        return x[:, :whole].reshape(x.shape[0], -1, chunk, *x.shape[2:]).swapaxes(0, 1)

    remat = nn.remat(run, prevent_cse=False)
    scan = nn.scan(remat, variable_broadcast="params", split_rngs={"params": False})
    carry, outputs = scan(module, carry, jax.tree.map(cut, (inputs, done)))
    outputs = cast(Any, outputs).swapaxes(0, 1).reshape(inputs.shape[0], whole, -1)
    if whole == length:
        return carry, outputs
    carry, rest = run(module, carry, (inputs[:, whole:], done[:, whole:]))
    return carry, jnp.concatenate([outputs, rest], axis=1)
