"""A traced function as a flat list of operations: calls are inlined, and what nothing depends on is left out."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, cast

import jax
import numpy as np
from jax.extend import core

_BODIES = ("jaxpr", "call_jaxpr", "fun_jaxpr", "call")
_CALLS = {
    "jit",
    "pjit",
    "closed_call",
    "core_call",
    "custom_jvp_call",
    "custom_vjp_call",
    "custom_vmap_call",
    "checkpoint",
}
"""Primitives that compute what their body computes; loops and branches, which have bodies too, are none of these."""


@dataclasses.dataclass(frozen=True, eq=False)
class Value:
    """An input of the function, or what an operation computes.

    Attributes:
        shape: Its shape; sizes may be symbolic.
        dtype: Its dtype.
    """

    shape: tuple[Any, ...]
    dtype: Any


@dataclasses.dataclass(frozen=True, eq=False)
class Constant:
    """A constant.

    Attributes:
        array: Its value.
    """

    array: Any


@dataclasses.dataclass(frozen=True, eq=False)
class Operation:
    """An application of a primitive.

    Attributes:
        primitive: The primitive.
        inputs: What it is applied to.
        outputs: What it computes.
        params: Its parameters.
    """

    primitive: Any
    inputs: tuple[Value | Constant, ...]
    outputs: tuple[Value, ...]
    params: dict[str, Any]

    @property
    def name(self) -> str:
        """The name of the primitive."""
        return self.primitive.name


@dataclasses.dataclass(frozen=True, eq=False)
class Operations:
    """A function as operations in the order in which they are computed.

    Attributes:
        inputs: The leaves of its arguments.
        outputs: The leaves of its result.
        operations: The operations that the outputs depend on.
    """

    inputs: list[Value]
    outputs: list[Value | Constant]
    operations: list[Operation]

    def used_inputs(self) -> list[bool]:
        """Tell which inputs the outputs depend on."""
        used = {id(x) for op in self.operations for x in op.inputs} | {id(x) for x in self.outputs}
        return [id(x) in used for x in self.inputs]

    def with_constants_folded(self) -> "Operations":
        """Compute what depends on constants alone, random numbers of constant keys among it."""
        known: dict[int, Constant] = {}
        kept = []

        def look_up(x: Value | Constant) -> Value | Constant:
            return known.get(id(x), x)

        for op in self.operations:
            inputs = tuple(look_up(x) for x in op.inputs)
            arrays = [x.array for x in inputs if isinstance(x, Constant)]
            if len(arrays) < len(inputs) or any(_is_symbolic(x.shape) for x in op.outputs):
                kept.append(dataclasses.replace(op, inputs=inputs))
                continue
            results = op.primitive.bind(*arrays, **op.params)
            results = results if op.primitive.multiple_results else [results]
            known |= {id(x): Constant(y) for x, y in zip(op.outputs, results, strict=True)}
        return _live(self.inputs, [look_up(x) for x in self.outputs], kept)


def trace(function: Callable[..., Any], *arguments: Any) -> Operations:
    """Trace a function of arrays.

    Args:
        function: The function.
        *arguments: Its arguments: arrays, or their shapes and dtypes.
    """
    closed = jax.make_jaxpr(function)(*arguments)
    inputs = [Value(x.aval.shape, x.aval.dtype) for x in closed.jaxpr.invars]
    operations: list[Operation] = []
    outputs = _inline(closed.jaxpr, closed.consts, inputs, operations)
    return _live(inputs, outputs, operations)


def _inline(
    jaxpr: Any, consts: Sequence[Any], inputs: Sequence[Value | Constant], operations: list[Operation]
) -> list[Value | Constant]:
    """Append the operations of a program, calls replaced by what they call; give its outputs."""
    values: dict[Any, Value | Constant] = dict(zip(jaxpr.constvars, map(Constant, consts), strict=True))
    values |= dict(zip(jaxpr.invars, inputs, strict=True))

    def read(x: Any) -> Value | Constant:
        # A literal is a Python number, whose type is that of the variable it stands for.
        return Constant(np.asarray(x.val, cast(Any, x.aval).dtype)) if isinstance(x, core.Literal) else values[x]

    for equation in jaxpr.eqns:
        given = tuple(read(x) for x in equation.invars)
        if equation.primitive.name in _CALLS:
            body = next(equation.params[name] for name in _BODIES if name in equation.params)
            inner, constants = (body.jaxpr, body.consts) if isinstance(body, core.ClosedJaxpr) else (body, ())
            results: Sequence[Value | Constant] = _inline(inner, constants, given, operations)
        elif equation.primitive.name == "scan" and equation.params["length"] == 1:
            results = _inline_single_step(equation.params, given, operations)
        else:
            results = tuple(Value(x.aval.shape, x.aval.dtype) for x in equation.outvars)
            operations.append(Operation(equation.primitive, given, results, equation.params))
        values |= dict(zip(equation.outvars, results, strict=True))
    return [read(x) for x in jaxpr.outvars]


def _inline_single_step(
    params: dict[str, Any], inputs: Sequence[Value | Constant], operations: list[Operation]
) -> list[Value | Constant]:
    """Append the body of a loop over a single step."""

    def change(primitive: Any, x: Value | Constant, shape: tuple[Any, ...], **params: Any) -> Value:
        like = x.array if isinstance(x, Constant) else x
        result = Value(shape, like.dtype)
        operations.append(Operation(primitive, (x,), (result,), params))
        return result

    def first(x: Value | Constant) -> Value:
        shape = x.array.shape if isinstance(x, Constant) else x.shape
        return change(jax.lax.squeeze_p, x, shape[1:], dimensions=(0,))

    def only(x: Value | Constant) -> Value:
        shape = (1, *(x.array.shape if isinstance(x, Constant) else x.shape))
        return change(jax.lax.reshape_p, x, shape, new_sizes=shape, dimensions=None, sharding=None)

    count, body = params["num_consts"] + params["num_carry"], params["jaxpr"]
    now = [*inputs[:count], *map(first, inputs[count:])]
    results = _inline(body.jaxpr, body.consts, now, operations)
    return [*results[: params["num_carry"]], *map(only, results[params["num_carry"] :])]


def _live(inputs: list[Value], outputs: list[Value | Constant], operations: list[Operation]) -> Operations:
    """Leave out the operations that no output depends on."""
    needed, kept = {id(x) for x in outputs}, []
    for op in reversed(operations):
        if any(id(x) in needed for x in op.outputs):
            needed |= {id(x) for x in op.inputs}
            kept.append(op)
    return Operations(inputs, outputs, kept[::-1])


def _is_symbolic(shape: tuple[Any, ...]) -> bool:
    return not all(isinstance(size, int) for size in shape)
