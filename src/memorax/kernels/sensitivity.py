"""Derivatives of a state with respect to parameters, carried forward in time."""

import math
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from memorax.core.types import Array, Carry, PyTree


def pack(memory: Carry, diagonal: bool) -> tuple[Array, Callable[[Array], Carry]]:
    """Write what can be differentiated as one array.

    Args:
        memory: Arrays with the batch in front; for a diagonal cell each is `[batch, units]`.
        diagonal: Whether unit `j` of every array depends on unit `j` of the arrays alone.

    Returns:
        The array, `[batch, parts, units]` if diagonal, else `[batch, states]`; and what makes a carry of such an array
        again, with everything that cannot be differentiated as it is in `memory`.
    """
    leaves, tree = jax.tree.flatten(memory)
    real = [i for i, x in enumerate(leaves) if jnp.issubdtype(x.dtype, jnp.floating)]
    shapes = [leaves[i].shape for i in real]
    batch = leaves[0].shape[0]
    if diagonal:
        packed = jnp.stack([leaves[i] for i in real], axis=1)
    else:
        packed = jnp.concatenate([leaves[i].reshape(batch, -1) for i in real], axis=1)

    def unpack(packed: Array) -> Carry:
        if diagonal:
            parts = [packed[:, i] for i in range(len(real))]
        else:
            edges = np.cumsum([math.prod(shape[1:]) for shape in shapes])[:-1]
            parts = [x.reshape(shape) for x, shape in zip(jnp.split(packed, edges, axis=1), shapes, strict=True)]
        new = dict(zip(real, parts, strict=True))
        return jax.tree.unflatten(tree, [new.get(i, x) for i, x in enumerate(leaves)])

    return packed, unpack


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def attach(diagonal: bool, recurrent: PyTree, state: Array, sensitivity: PyTree) -> Array:
    """Return `state`, and make its derivative with respect to some parameters a given one.

    Args:
        diagonal: As for `pack`.
        recurrent: The parameters.
        state: What `pack` makes of a memory.
        sensitivity: The derivative, for each parameter `[batch, parts or states, *parameter.shape]`; it has none
            itself.

    Returns:
        `state`.
    """
    del diagonal, recurrent, sensitivity
    return state


def _forward(diagonal: bool, recurrent: PyTree, state: Array, sensitivity: PyTree) -> tuple[Array, PyTree]:
    del diagonal, recurrent
    return state, sensitivity


def _backward(diagonal: bool, sensitivity: PyTree, cotangent: Array) -> tuple[PyTree, Array, None]:
    product = "baj,ba...j->...j" if diagonal else "ba,ba...->..."
    return jax.tree.map(lambda s: jnp.einsum(product, cotangent, s), sensitivity), cotangent, None


attach.defvjp(_forward, _backward)
