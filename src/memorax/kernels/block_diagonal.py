"""Products with block-diagonal matrices as a few dense ones.

A product for each block has the block in the middle of its axes: on a CPU all inputs and outputs are transposed, which
for blocks of a few rows takes many times as long as the multiplications. Blocks side by side are therefore one
matrix, with zeros between them.
"""

import jax.numpy as jnp

from memorax.core.types import Array
from memorax.kernels.platform import on_cpu

_WIDTH = 64
"""Most rows and columns of a matrix that holds several blocks."""


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
    most = max(1, _WIDTH // max(rows, columns))
    side = next(side for side in range(min(most, count), 0, -1) if count % side == 0)
    flat = x.reshape(-1, count * rows)
    tiles = blocks.reshape(count // side, side, rows, columns)
    if side > 1:  # [tiles, side, rows, side, columns]
        tiles = jnp.where(jnp.eye(side, dtype=bool)[None, :, None, :, None], tiles[:, :, :, None], 0)
    tiles = tiles.reshape(count // side, side * rows, side * columns)
    pieces = [part @ tile for part, tile in zip(jnp.split(flat, count // side, axis=-1), tiles, strict=True)]
    outputs = pieces[0] if len(pieces) == 1 else jnp.concatenate(pieces, axis=-1)
    return outputs.reshape(*x.shape[:-1], count * columns)
