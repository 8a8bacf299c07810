"""Rows of a batch on several devices.

`memorax.experiment.devices` makes a mesh with an axis `ENVS` and compiles programs inside it. There, the batch axis of
environments, memory, replay buffer and minibatches is split over the devices of that axis, and parameters are on all of
them. Everywhere else these functions do nothing.

XLA splits whatever it can follow. It does not follow a batch axis through every reshape, and then computes all rows on
all devices, so what treats every row by itself is split here by `jax.shard_map`: each device runs it on its own rows.
"""

from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import PartitionSpec

from memorax.core.types import PyTree

SEEDS = "seed"
"""Name of the axis of a mesh that seeds are split over."""
ENVS = "env"
"""Name of the axis of a mesh that rows are split over."""


def row_devices() -> int:
    """Number of devices that rows are split over in what is traced now; 1 where they are not."""
    mesh = jax.sharding.get_abstract_mesh()
    inside = ENVS in mesh.axis_names and ENVS not in mesh.manual_axes
    return mesh.shape[ENVS] if inside else 1


def split_rows(tree: PyTree) -> PyTree:
    """Split a random choice of rows over the devices, which would otherwise all compute all of it.

    Args:
        tree: Arrays, `[rows, ...]`.

    Raises:
        ValueError: The devices do not divide the rows.
    """
    devices = row_devices()
    if devices == 1:
        return tree
    rows = _length(tree)
    if rows % devices:
        raise ValueError(
            f"`devices` must divide what is learned from at once, {rows} sequences, got {devices} for each seed; take "
            f"fewer devices, or a multiple of {devices} by `num_envs`, `num_minibatches` or `batch_size`"
        )
    return jax.tree.map(lambda x: jax.lax.with_sharding_constraint(x, PartitionSpec(ENVS)), tree)


def by_rows(function: Callable[..., PyTree], shared: PyTree, *rows: PyTree) -> PyTree:
    """Call `function(shared, *rows)` on each device with its rows, if the devices divide them.

    Args:
        function: Treats every row by itself. What it returns is `[rows, ...]`, or depends on `shared` alone.
        shared: Arrays that are the same for all rows.
        *rows: Arrays, `[rows, ...]`.

    Returns:
        What `function` returns for all rows.
    """
    devices, length = row_devices(), _length(rows)
    if devices == 1 or length % devices:
        return function(shared, *rows)
    some = jax.tree.map(lambda x: jax.ShapeDtypeStruct((length // devices, *x.shape[1:]), x.dtype), rows)
    whole, part = (jax.eval_shape(function, shared, *of) for of in (rows, some))
    leaves, structure = jax.tree.flatten(whole)
    parts = jax.tree.leaves(part)
    specs = [PartitionSpec(ENVS if x.shape != y.shape else None) for x, y in zip(leaves, parts, strict=True)]
    # A spec names as many axes as it says something about, and an array without axes has none to name.
    specs = [spec if x.ndim else PartitionSpec() for spec, x in zip(specs, leaves, strict=True)]
    mapped = jax.shard_map(
        lambda *args: jax.tree.leaves(function(*args)),
        in_specs=(PartitionSpec(), *(PartitionSpec(ENVS) for _ in rows)),
        out_specs=specs,
        axis_names={SEEDS, ENVS},  # `jax.vmap` over seeds adds the other one to the specs
        check_vma=False,  # nothing is exchanged, and constants inside need not be marked as those of one device
    )
    return jax.tree.unflatten(structure, mapped(shared, *rows))


def _length(rows: Any) -> int:
    return jax.tree.leaves(rows)[0].shape[0]
