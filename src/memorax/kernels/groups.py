"""A batch a few rows at a time, so that what a step of a recurrence works on stays in a CPU's cache."""

from collections.abc import Callable
from typing import Any

import jax

from memorax.kernels.platform import on_cpu


def in_groups(run: Callable[..., Any], size: int, *arguments: Any, axis: int = 0) -> Any:
    """Call a function of a batch on a group of its rows at a time, one group after the other, on CPUs.

    Args:
        run: Maps pytrees of arrays to a pytree of arrays, each row of the batch by itself.
        size: Most rows in a group; the number of rows is the largest one up to it that divides the batch. Where that is
            less than half of `size`, `run` is called once, as it is on a GPU.
        *arguments: Pytrees of arrays with a batch.
        axis: The axis of the batch, the same in all arguments and results.

    Returns:
        What `run(*arguments)` gives.
    """
    batch = jax.tree.leaves(arguments)[0].shape[axis]
    rows = next(rows for rows in range(min(size, batch), 0, -1) if batch % rows == 0)
    if not on_cpu() or rows == batch or 2 * rows < size:
        return run(*arguments)

    def cut(x: Any) -> Any:
        x = x.reshape(*x.shape[:axis], batch // rows, rows, *x.shape[axis + 1 :])
        return jax.numpy.moveaxis(x, axis, 0)

    def join(x: Any) -> Any:
        x = jax.numpy.moveaxis(x, 0, axis)
        return x.reshape(*x.shape[:axis], batch, *x.shape[axis + 2 :])

    results = jax.lax.map(lambda group: run(*group), jax.tree.map(cut, arguments))
    return jax.tree.map(join, results)
