"""Rules for primitives that combine many entries: reductions, cumulative sums, products and convolutions."""

import string
from typing import Any

import numpy as np

from memorax.experiment.export.onnx.graph import Graph, UnsupportedError, described, rule
from memorax.experiment.export.operations import Operation

_REDUCTIONS = {
    "reduce_sum": "ReduceSum",
    "reduce_max": "ReduceMax",
    "reduce_min": "ReduceMin",
    "reduce_prod": "ReduceProd",
    "reduce_or": "ReduceMax",
    "reduce_and": "ReduceMin",
}


@rule(*_REDUCTIONS)
def _reduce(graph: Graph, x: list[str], op: Operation) -> Any:
    axes, dtype = graph.constant(list(op.params["axes"]), np.int64), np.dtype(op.outputs[0].dtype)
    given = x[0] if dtype.kind == "f" else graph.cast(x[0], np.int64)
    reduced = graph.add(_REDUCTIONS[op.name], given, axes, keepdims=0)
    return reduced if dtype.kind == "f" else graph.cast(reduced, dtype)


@rule("argmax", "argmin")
def _arg(graph: Graph, x: list[str], op: Operation) -> Any:
    (axis,) = op.params["axes"]
    kind = np.dtype(described(op.inputs[0]).dtype).kind
    given = x[0] if kind == "f" else graph.cast(x[0], np.int32)
    operator = "ArgMax" if op.name == "argmax" else "ArgMin"
    return graph.cast(graph.add(operator, given, axis=axis, keepdims=0), op.outputs[0].dtype)


@rule("cumsum")
def _cumulative_sum(graph: Graph, x: list[str], op: Operation) -> Any:
    return graph.add("CumSum", x[0], graph.constant(op.params["axis"], np.int64), reverse=int(op.params["reverse"]))


@rule("cummax", "cummin", "cumprod", "cumlogsumexp")
def _cumulate(graph: Graph, x: list[str], op: Operation) -> Any:
    if op.outputs[0].shape[op.params["axis"]] != 1:
        raise UnsupportedError("more than one step")
    return x[0]


@rule("top_k")
def _largest(graph: Graph, x: list[str], op: Operation) -> Any:
    values, indices = graph.add("TopK", x[0], graph.constant([op.params["k"]], np.int64), outputs=2, axis=-1)
    return values, graph.cast(indices, op.outputs[1].dtype)


@rule("dot_general")
def _dot(graph: Graph, x: list[str], op: Operation) -> Any:
    """A product of matrices where it is one, else by Einstein's summation."""
    (left_sum, right_sum), (left_rows, right_rows) = op.params["dimension_numbers"]
    left, right = (len(described(value).shape) for value in op.inputs)
    if right == 2 and not left_rows and (tuple(left_sum), tuple(right_sum)) == ((left - 1,), (0,)):
        return graph.add("MatMul", *x)
    letters = iter(string.ascii_letters)
    first = [next(letters) for _ in range(left)]
    second = [next(letters) for _ in range(right)]
    for mine, other in [*zip(left_sum, right_sum, strict=True), *zip(left_rows, right_rows, strict=True)]:
        second[other] = first[mine]
    free = [first[a] for a in range(left) if a not in {*left_sum, *left_rows}]
    free += [second[a] for a in range(right) if a not in {*right_sum, *right_rows}]
    result = "".join([*(first[a] for a in left_rows), *free])
    return graph.add("Einsum", *x, equation=f"{''.join(first)},{''.join(second)}->{result}")


@rule("conv_general_dilated")
def _convolve(graph: Graph, x: list[str], op: Operation) -> Any:
    """A convolution, with axes turned to batch, channels, space, and back."""
    params, numbers = op.params, op.params["dimension_numbers"]
    if params["batch_group_count"] != 1 or any(size != 1 for size in params["lhs_dilation"]):
        raise UnsupportedError("a transposed convolution")
    inputs = graph.add("Transpose", x[0], perm=list(numbers.lhs_spec))
    kernel = graph.add("Transpose", x[1], perm=list(numbers.rhs_spec))
    low, high = zip(*params["padding"], strict=True)
    outputs = graph.add(
        "Conv",
        inputs,
        kernel,
        strides=list(params["window_strides"]),
        pads=[int(size) for size in (*low, *high)],
        dilations=list(params["rhs_dilation"]),
        group=params["feature_group_count"],
    )
    return graph.add("Transpose", outputs, perm=list(np.argsort(numbers.out_spec)))
