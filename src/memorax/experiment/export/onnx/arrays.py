"""Rules for primitives that move entries: shapes, slices, gathers and scatters."""

import math
from typing import Any

import numpy as np

from memorax.experiment.export.onnx.graph import Graph, UnsupportedError, described, rule
from memorax.experiment.export.operations import Constant, Operation


@rule("reshape", "squeeze", "expand_dims")
def _reshape(graph: Graph, x: list[str], op: Operation) -> Any:
    return graph.reshape(x[0], op.outputs[0].shape)


@rule("broadcast_in_dim")
def _broadcast(graph: Graph, x: list[str], op: Operation) -> Any:
    """Put the axes where they belong, then repeat along the others."""
    given, shape = described(op.inputs[0]).shape, op.outputs[0].shape
    places = dict(zip(op.params["broadcast_dimensions"], given, strict=True))
    aligned = [places.get(axis, 1) for axis in range(len(shape))]
    return graph.expand(graph.reshape(x[0], aligned), shape)


@rule("transpose")
def _transpose(graph: Graph, x: list[str], op: Operation) -> Any:
    return graph.add("Transpose", x[0], perm=list(op.params["permutation"]))


@rule("concatenate")
def _concatenate(graph: Graph, x: list[str], op: Operation) -> Any:
    return graph.add("Concat", *x, axis=op.params["dimension"])


@rule("stack")
def _stack(graph: Graph, x: list[str], op: Operation) -> Any:
    axis = op.params["axis"]
    parts = [graph.add("Unsqueeze", part, graph.constant([axis], np.int64)) for part in x]
    return graph.add("Concat", *parts, axis=axis)


@rule("unstack")
def _unstack(graph: Graph, x: list[str], op: Operation) -> Any:
    parts = graph.add("Split", x[0], outputs=len(op.outputs), axis=op.params["axis"], num_outputs=len(op.outputs))
    return [graph.reshape(part, value.shape) for part, value in zip(parts, op.outputs, strict=True)]


@rule("tile")
def _tile(graph: Graph, x: list[str], op: Operation) -> Any:
    return graph.add("Tile", x[0], graph.constant(list(op.params["reps"]), np.int64))


@rule("split")
def _split(graph: Graph, x: list[str], op: Operation) -> Any:
    sizes = [int(size) for size in op.params["sizes"]]
    return graph.add("Split", x[0], graph.constant(sizes, np.int64), outputs=len(sizes), axis=op.params["axis"])


@rule("slice")
def _slice(graph: Graph, x: list[str], op: Operation) -> Any:
    """Cut only the axes of which something is left out; the batch is whole."""
    shape, strides = described(op.inputs[0]).shape, op.params["strides"]
    starts, ends = op.params["start_indices"], op.params["limit_indices"]
    steps = strides or (1,) * len(shape)
    cut = [a for a in range(len(shape)) if not (_is(starts[a], 0) and ends[a] == shape[a] and steps[a] == 1)]
    first, last, step = ([int(values[a]) for a in cut] for values in (starts, ends, steps))
    return _cut(graph, x[0], cut, first, last, step)


@rule("rev")
def _reverse(graph: Graph, x: list[str], op: Operation) -> Any:
    axes = list(op.params["dimensions"])
    least = np.iinfo(np.int64).min
    return _cut(graph, x[0], axes, [-1] * len(axes), [least] * len(axes), [-1] * len(axes))


def _cut(graph: Graph, x: str, axes: list[int], starts: list[int], ends: list[int], steps: list[int]) -> str:
    if not axes:
        return x
    return graph.add("Slice", x, *(graph.constant(values, np.int64) for values in (starts, ends, axes, steps)))


@rule("pad")
def _pad(graph: Graph, x: list[str], op: Operation) -> Any:
    low, high, inner = ([int(part) for part in parts] for parts in zip(*op.params["padding_config"], strict=True))
    if any(inner):
        raise UnsupportedError("padding between entries")
    if not any(low + high):
        return x[0]
    return graph.add("Pad", x[0], graph.constant(low + high, np.int64), x[1])


@rule("iota")
def _iota(graph: Graph, x: list[str], op: Operation) -> Any:
    """Only those with the batch among their axes are left; the others are constants."""
    shape, axis = op.outputs[0].shape, op.params["dimension"]
    if not isinstance(shape[axis], int):
        raise UnsupportedError("numbers along the batch")
    numbers = np.arange(shape[axis]).reshape([-1 if a == axis else 1 for a in range(len(shape))])
    return graph.expand(graph.constant(numbers, op.outputs[0].dtype), shape)


@rule("gather")
def _gather(graph: Graph, x: list[str], op: Operation) -> Any:
    """Entries along one axis, at indices that are clipped to it."""
    numbers, operand = op.params["dimension_numbers"], described(op.inputs[0])
    sizes, indices = op.params["slice_sizes"], described(op.inputs[1])
    if len(numbers.start_index_map) != 1 or indices.shape[-1] != 1:
        raise UnsupportedError("indices of several axes")
    axis = numbers.start_index_map[0]
    batching = numbers.operand_batching_dims
    whole = [a for a in range(len(operand.shape)) if a != axis and a not in batching]
    if any(sizes[a] != operand.shape[a] for a in whole):
        raise UnsupportedError("windows of several axes")
    where = _positions(graph, op.inputs[1], x[1], operand.shape[axis] - sizes[axis])
    if len(indices.shape) == 1 and not batching:  # a window of any size, at one place
        window = graph.constant(np.arange(sizes[axis]), np.int64)
        found = graph.add("Gather", x[0], graph.add("Add", graph.reshape(where, [1]), window), axis=axis)
        return graph.reshape(found, op.outputs[0].shape)
    if sizes[axis] != 1:
        raise UnsupportedError("windows of several entries")
    rows = len(indices.shape) - 1
    places = [a for a in range(len(op.outputs[0].shape)) if a not in numbers.offset_dims]
    kept = iter(numbers.offset_dims)
    window_place = {a: next(kept) for a in range(len(sizes)) if a not in {*numbers.collapsed_slice_dims, *batching}}
    if batching:
        return _gather_in_rows(graph, x[0], where, op, (axis, window_place, places))
    found = graph.add("Gather", x[0], graph.reshape(where, indices.shape[:-1]), axis=axis)
    order = [
        *(window_place[a] for a in whole if a < axis),
        *places[:rows],
        *(window_place[a] for a in whole if a > axis),
    ]
    if len(order) < len(op.outputs[0].shape):  # the axis itself was kept, with a single entry
        ranks = sorted(order)
        order = [ranks.index(place) for place in order]
    turned = graph.add("Transpose", found, perm=[order.index(i) for i in range(len(order))])
    return graph.reshape(turned, op.outputs[0].shape)


def _gather_in_rows(
    graph: Graph, x: str, where: str, op: Operation, layout: tuple[int, dict[int, int], list[int]]
) -> Any:
    """Gather where every row of the batch has indices of its own."""
    axis, window_place, places = layout
    numbers, operand, indices = op.params["dimension_numbers"], described(op.inputs[0]), described(op.inputs[1])
    if numbers.operand_batching_dims != (0,) or numbers.start_indices_batching_dims != (0,) or axis in window_place:
        raise UnsupportedError("this layout of indices")
    count = math.prod(int(size) for size in indices.shape[1:-1])
    batch, last = operand.shape[0], len(operand.shape)
    shape = [batch if a == 0 else count if a == axis else size for a, size in enumerate(operand.shape)]
    narrow = [batch if a == 0 else count if a == axis else 1 for a in range(last)]
    found = graph.add("GatherElements", x, graph.expand(graph.reshape(where, narrow), shape), axis=axis)
    place = {**window_place, 0: places[0], axis: places[1] if len(places) > 1 else last}
    order = sorted(range(last), key=lambda a: place[a])
    return graph.reshape(graph.add("Transpose", found, perm=order), op.outputs[0].shape)


@rule("scatter")
def _scatter(graph: Graph, x: list[str], op: Operation) -> Any:
    """A window that is one entry long along one axis and whole along the others, written where an index says."""
    numbers, operand, updates = op.params["dimension_numbers"], *map(described, (op.inputs[0], op.inputs[2]))
    rank, batching = len(operand.shape), tuple(numbers.operand_batching_dims)
    windows = tuple(a for a in range(rank) if a not in batching)
    whole = len(updates.shape) == rank and not numbers.inserted_window_dims
    if not whole or batching not in ((), (0,)) or tuple(numbers.update_window_dims) != windows:
        raise UnsupportedError("this layout of indices")
    columns = list(map(int, numbers.scatter_dims_to_operand_dims))
    starts = graph.add("Split", x[1], outputs=len(columns), axis=-1, num_outputs=len(columns))
    names = dict(zip(columns, starts if len(columns) > 1 else [starts], strict=True))
    return _write_window(graph, x[0], x[2], names, op)


@rule("dynamic_update_slice")
def _update_slice(graph: Graph, x: list[str], op: Operation) -> Any:
    return _write_window(graph, x[0], x[1], dict(enumerate(x[2:])), op)


def _write_window(graph: Graph, x: str, update: str, starts: dict[int, str], op: Operation) -> str:
    shape = described(op.inputs[0]).shape
    given = described(op.inputs[2] if op.name == "scatter" else op.inputs[1]).shape
    partial = [a for a in range(len(shape)) if given[a] != shape[a]]
    if not partial:
        return update
    if len(partial) > 1 or given[partial[0]] != 1 or partial[0] not in starts:
        raise UnsupportedError("windows of several entries")
    axis = partial[0]
    column = graph.reshape(starts[axis], [-1, *[1] * (len(shape) - 1)])
    where = _clip(graph, graph.cast(column, np.int64), shape[axis] - 1)
    numbers = np.arange(shape[axis]).reshape([-1 if a == axis else 1 for a in range(len(shape))])
    here = graph.add("Equal", graph.constant(numbers, np.int64), where)
    kind = np.dtype(op.outputs[0].dtype)
    if kind.kind == "b" or kind.itemsize < 4:
        return graph.cast(graph.add("Where", here, graph.cast(update, np.int64), graph.cast(x, np.int64)), kind)
    return graph.add("Where", here, update, x)


@rule("dynamic_slice")
def _dynamic_slice(graph: Graph, x: list[str], op: Operation) -> Any:
    shape, sizes, result = described(op.inputs[0]).shape, op.params["slice_sizes"], x[0]
    for axis, (size, length, start) in enumerate(zip(sizes, shape, x[1:], strict=True)):
        if size != length:
            where = _clip(graph, graph.cast(graph.reshape(start, [1]), np.int64), length - size)
            window = graph.constant(np.arange(size), np.int64)
            result = graph.add("Gather", result, graph.add("Add", where, window), axis=axis)
    return result


def _positions(graph: Graph, value: Any, name: str, most: Any) -> str:
    """Indices as int64, clipped to where a window fits."""
    if not isinstance(most, int):
        raise UnsupportedError("indices along the batch")
    if isinstance(value, Constant):
        return graph.constant(np.clip(np.asarray(value.array), 0, most), np.int64)
    return _clip(graph, graph.cast(name, np.int64), most)


def _clip(graph: Graph, x: str, most: int) -> str:
    return graph.add("Min", graph.add("Max", x, graph.constant(0, np.int64)), graph.constant(most, np.int64))


def _is(size: Any, number: int) -> bool:
    return isinstance(size, int | np.integer) and int(size) == number
