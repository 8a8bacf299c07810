"""Rules for primitives that compute every entry for itself.

Integers of fewer than 32 bits, and unsigned ones, are computed with 64 bits, for which ONNX Runtime has all operators.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from memorax.experiment.export.onnx.graph import Graph, UnsupportedError, described, rule
from memorax.experiment.export.operations import Operation

_NARROW = {"int8", "int16", "uint8", "uint16", "uint32"}
_IDENTITIES = ("stop_gradient", "copy", "copy_p", "optimization_barrier", "reduce_precision")
_UNARY = {
    "abs": "Abs", "neg": "Neg", "exp": "Exp", "log": "Log", "sign": "Sign", "sqrt": "Sqrt", "tanh": "Tanh",
    "logistic": "Sigmoid", "sin": "Sin", "cos": "Cos", "floor": "Floor", "ceil": "Ceil", "erf": "Erf", "tan": "Tan",
    "asin": "Asin", "acos": "Acos", "atan": "Atan", "sinh": "Sinh", "cosh": "Cosh", "atanh": "Atanh", "asinh": "Asinh",
}  # fmt: skip
_BINARY = {"add": "Add", "add_any": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "max": "Max", "min": "Min"}
_COMPARISONS = {"eq": "Equal", "lt": "Less", "le": "LessOrEqual", "gt": "Greater", "ge": "GreaterOrEqual"}
_BITWISE = {"and": "And", "or": "Or", "xor": "Xor"}


def _wide(graph: Graph, inputs: Sequence[str], op: Operation) -> list[str]:
    """Convert integers to 64 bits where ONNX Runtime needs it."""
    narrow = np.dtype(described(op.inputs[0]).dtype).name in _NARROW
    return [graph.cast(x, np.int64) for x in inputs] if narrow else list(inputs)


def _back(graph: Graph, x: str, op: Operation) -> str:
    """Convert what was computed by `_wide`, modulo its range, to the operation's dtype."""
    dtype = np.dtype(op.outputs[0].dtype)
    if dtype.name not in _NARROW:
        return x
    if dtype.kind == "u":
        x = graph.add("BitwiseAnd", x, graph.constant(np.iinfo(dtype).max, np.int64))
    return graph.cast(x, dtype)


@rule(*_IDENTITIES)
def _identity(graph: Graph, x: list[str], op: Operation) -> Any:
    return x


@rule(*_UNARY)
def _unary(graph: Graph, x: list[str], op: Operation) -> Any:
    return _back(graph, graph.add(_UNARY[op.name], *_wide(graph, x, op)), op)


@rule(*_BINARY)
def _binary(graph: Graph, x: list[str], op: Operation) -> Any:
    if np.dtype(op.outputs[0].dtype).kind == "b":
        return graph.add({"max": "Or", "add": "Or", "min": "And", "mul": "And"}[op.name], *x)
    return _back(graph, graph.add(_BINARY[op.name], *_wide(graph, x, op)), op)


@rule(*_COMPARISONS)
def _compare(graph: Graph, x: list[str], op: Operation) -> Any:
    return graph.add(_COMPARISONS[op.name], *_wide(graph, x, op))


@rule("ne")
def _differ(graph: Graph, x: list[str], op: Operation) -> Any:
    return graph.add("Not", graph.add("Equal", *_wide(graph, x, op)))


@rule(*_BITWISE)
def _bitwise(graph: Graph, x: list[str], op: Operation) -> Any:
    if np.dtype(op.outputs[0].dtype).kind == "b":
        return graph.add(_BITWISE[op.name], *x)
    return _back(graph, graph.add(f"Bitwise{_BITWISE[op.name]}", *_wide(graph, x, op)), op)


@rule("not")
def _not(graph: Graph, x: list[str], op: Operation) -> Any:
    return graph.add("Not" if np.dtype(op.outputs[0].dtype).kind == "b" else "BitwiseNot", *x)


@rule("shift_right_logical")
def _shift_right(graph: Graph, x: list[str], op: Operation) -> Any:
    if np.dtype(op.outputs[0].dtype).kind != "u":
        raise UnsupportedError("of signed integers")
    left, right = (graph.cast(part, np.uint64) for part in x)
    return graph.cast(graph.add("BitShift", left, right, direction="RIGHT"), op.outputs[0].dtype)


@rule("rem")
def _remainder(graph: Graph, x: list[str], op: Operation) -> Any:
    return _back(graph, graph.add("Mod", *_wide(graph, x, op), fmod=1), op)


@rule("pow")
def _power(graph: Graph, x: list[str], op: Operation) -> Any:
    return graph.add("Pow", *x)


@rule("integer_pow")
def _integer_power(graph: Graph, x: list[str], op: Operation) -> Any:
    return graph.add("Pow", x[0], graph.constant(op.params["y"], op.outputs[0].dtype))


@rule("square")
def _square(graph: Graph, x: list[str], op: Operation) -> Any:
    return graph.add("Mul", x[0], x[0])


@rule("rsqrt")
def _inverse_root(graph: Graph, x: list[str], op: Operation) -> Any:
    return graph.add("Reciprocal", graph.add("Sqrt", *x))


@rule("expm1")
def _exp_minus_one(graph: Graph, x: list[str], op: Operation) -> Any:
    """`exp(x) - 1`, near zero as `2 tanh(x / 2) / (1 - tanh(x / 2))`, which loses no digits."""
    dtype = op.outputs[0].dtype
    one, two = graph.constant(1, dtype), graph.constant(2, dtype)
    near = graph.add("Less", graph.add("Abs", *x), one)
    tanh = graph.add("Tanh", graph.add("Div", graph.add("Where", near, x[0], one), two))
    exact = graph.add("Div", graph.add("Mul", two, tanh), graph.add("Sub", one, tanh))
    return graph.add("Where", near, exact, graph.add("Sub", graph.add("Exp", *x), one))


@rule("log1p")
def _log_of_one_plus(graph: Graph, x: list[str], op: Operation) -> Any:
    """`log(1 + x)`, near zero as `2 atanh(x / (2 + x))`, which loses no digits."""
    dtype = op.outputs[0].dtype
    half, one, two = (graph.constant(value, dtype) for value in (0.5, 1, 2))
    near = graph.add("Less", graph.add("Abs", *x), half)
    small = graph.add("Where", near, x[0], half)
    exact = graph.add("Mul", two, graph.add("Atanh", graph.add("Div", small, graph.add("Add", two, small))))
    return graph.add("Where", near, exact, graph.add("Log", graph.add("Add", one, *x)))


@rule("round")
def _round(graph: Graph, x: list[str], op: Operation) -> Any:
    if int(op.params["rounding_method"]) != 1:
        raise UnsupportedError("rounding away from zero")
    return graph.add("Round", *x)


@rule("is_finite")
def _is_finite(graph: Graph, x: list[str], op: Operation) -> Any:
    return graph.add("Not", graph.add("Or", graph.add("IsNaN", *x), graph.add("IsInf", *x)))


@rule("select_n")
def _select(graph: Graph, x: list[str], op: Operation) -> Any:
    if len(x) != 3 or np.dtype(described(op.inputs[0]).dtype).kind != "b":
        raise UnsupportedError("more than two cases")
    which, no, yes = x
    if np.dtype(op.outputs[0].dtype).kind == "b":
        return graph.add("Or", graph.add("And", which, yes), graph.add("And", graph.add("Not", which), no))
    if np.dtype(op.outputs[0].dtype).name in _NARROW:
        yes, no = (graph.cast(value, np.int64) for value in (yes, no))
    return _back(graph, graph.add("Where", which, yes, no), op)


@rule("clamp")
def _clamp(graph: Graph, x: list[str], op: Operation) -> Any:
    low, value, high = _wide(graph, x, op)
    return _back(graph, graph.add("Min", graph.add("Max", low, value), high), op)


@rule("convert_element_type")
def _convert(graph: Graph, x: list[str], op: Operation) -> Any:
    return graph.cast(x[0], op.outputs[0].dtype)
