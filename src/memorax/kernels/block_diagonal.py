"""Products with block-diagonal matrices as a few dense ones.

A product for each block has the block in the middle of its axes: on a CPU all inputs and outputs are transposed, which
for blocks of a few rows takes many times as long as the multiplications. Blocks side by side are therefore one
matrix, with zeros between them.
"""

import jax.numpy as jnp

from memorax.core.types import Array
from memorax.kernels.platform import on_cpu

_WIDTH = 64
"""Most rows and columns of a matrix that holds several blocks, if there are not too many of them."""
_PIECES = 16
"""About as many matrices as there are at most, unless there are as many blocks that are wider than `_WIDTH`."""


def block_diagonal_product(x: Array, blocks: Array) -> Array:
    """Multiply with a block-diagonal matrix.

    What is not finite in `x` may reach the outputs of the blocks beside it, in the same row.

    Args:
        x: `[..., count * rows]`.
        blocks: `[count, rows, columns]`, of the same type.

    Returns:
        `[..., count * columns]`.
    """
    count, rows, columns = blocks.shape
    if not on_cpu():
        parts = x.reshape(*x.shape[:-1], count, rows)
        return jnp.einsum("...ni,nij->...nj", parts, blocks).reshape(*x.shape[:-1], count * columns)
    widest = max(rows, columns)
    side = max(1, max(_WIDTH, count * widest // _PIECES) // widest)
    flat = x.reshape(-1, count * rows)
    pieces = [
        flat[:, first * rows : (first + side) * rows] @ _dense(blocks[first : first + side])
        for first in range(0, count, side)
    ]
    outputs = pieces[0] if len(pieces) == 1 else jnp.concatenate(pieces, axis=-1)
    return outputs.reshape(*x.shape[:-1], count * columns)


def _dense(blocks: Array) -> Array:
    """Blocks side by side as one matrix."""
    count, rows, columns = blocks.shape
    if count == 1:
        return blocks[0]
    own = jnp.eye(count, dtype=bool)[:, None, :, None]
    return jnp.where(own, blocks[:, :, None], 0).reshape(count * rows, count * columns)
