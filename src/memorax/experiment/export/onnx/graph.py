"""Building an ONNX graph from operations of JAX, by a rule for each primitive."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from memorax.experiment.export.operations import Constant, Operation, Operations, Value
from memorax.experiment.libraries import require

OPSET, IR_VERSION = 20, 10
"""Versions of the operators and of the file, which every ONNX Runtime from 1.19 on reads."""


class UnsupportedError(ValueError):
    """ONNX has no counterpart for an operation."""


class Graph:
    """An ONNX graph under construction.

    Args:
        operations: What it computes.
        inputs: Names of its inputs; the first axis of the first is the batch.
        batch: The symbolic size of the batch.
    """

    def __init__(self, operations: Operations, inputs: Sequence[str], batch: Any) -> None:
        self.onnx: Any = require("onnx", "onnx", "this export format")
        self.batch = batch
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._names: dict[int, str] = {id(x): name for x, name in zip(operations.inputs, inputs, strict=True)}
        self._batch = self.add("Shape", inputs[0], start=0, end=1)

    def add(self, operator: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """Append a node; give the name of its output, or the names where there are several."""
        names = [f"{operator}_{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(self.onnx.helper.make_node(operator, list(inputs), names, **attributes))
        return names[0] if outputs == 1 else names

    def constant(self, array: Any, dtype: Any = None) -> str:
        """Give the name of a constant."""
        self.type_of(array.dtype if dtype is None else dtype)
        value = np.asarray(array, dtype)
        key = value.dtype.name, value.shape, value.tobytes()
        if key not in self._constants:
            self._constants[key] = f"constant_{len(self._constants)}"
            self.initializers.append(self.onnx.numpy_helper.from_array(value, self._constants[key]))
        return self._constants[key]

    def read(self, x: Value | Constant) -> str:
        """Give the name of what an operation is applied to."""
        return self.constant(x.array) if isinstance(x, Constant) else self._names[id(x)]

    def write(self, x: Value, name: str) -> None:
        """Say what a value is called."""
        self._names[id(x)] = name

    def type_of(self, dtype: Any) -> int:
        """Give the number that ONNX has for a dtype.

        Raises:
            UnsupportedError: It has none that ONNX Runtime computes with.
        """
        if jnp.issubdtype(dtype, jax.dtypes.extended) or np.dtype(dtype).kind not in "biuf":
            raise UnsupportedError(f"arrays of dtype {dtype}")
        return self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))

    def cast(self, x: str, dtype: Any) -> str:
        """Convert to a dtype."""
        return self.add("Cast", x, to=self.type_of(dtype))

    def reshape(self, x: str, shape: Sequence[Any]) -> str:
        """Reshape; a size that depends on the batch is found from the others."""
        sizes = [size if isinstance(size, int) else -1 for size in shape]
        if sizes.count(-1) > 1 or (0 in sizes and -1 in sizes):
            raise UnsupportedError(f"the shape {tuple(shape)}")
        return self.add("Reshape", x, self.constant(sizes, np.int64), allowzero=1)

    def expand(self, x: str, shape: Sequence[Any]) -> str:
        """Broadcast to a shape."""
        return self.add("Expand", x, self._sizes(shape))

    def _sizes(self, shape: Sequence[Any]) -> str:
        if all(isinstance(size, int) for size in shape):
            return self.constant(list(shape), np.int64)
        parts = []
        for size in shape:
            if not isinstance(size, int) and size != self.batch:
                raise UnsupportedError(f"the shape {tuple(shape)}")
            parts.append(self.constant([size], np.int64) if isinstance(size, int) else self._batch)
        return self.add("Concat", *parts, axis=0)

    def name_output(self, x: Value | Constant, name: str) -> None:
        """Give an output its name."""
        self.nodes.append(self.onnx.helper.make_node("Identity", [self.read(x)], [name]))

    def model(self, inputs: dict[str, Any], outputs: dict[str, Any]) -> bytes:
        """Finish: check the model and give its bytes.

        Args:
            inputs: Arrays, or shapes and dtypes, by name; the first axis is the batch.
            outputs: Likewise.
        """
        helper = self.onnx.helper

        def describe(arrays: dict[str, Any]) -> list[Any]:
            return [
                helper.make_tensor_value_info(name, self.type_of(x.dtype), ["batch", *x.shape[1:]])
                for name, x in arrays.items()
            ]

        used = {name for node in self.nodes for name in node.input}
        constants = [x for x in self.initializers if x.name in used]
        graph = helper.make_graph(self.nodes, "policy", describe(inputs), describe(outputs), constants)
        versions = [helper.make_operatorsetid("", OPSET)]
        model = helper.make_model(graph, producer_name="memorax", opset_imports=versions, ir_version=IR_VERSION)
        self.onnx.checker.check_model(model)
        return model.SerializeToString(deterministic=True)


Rule = Callable[[Graph, list[str], Operation], Any]
"""Appends what computes an operation, given the names of its inputs; gives the names of its outputs."""
RULES: dict[str, Rule] = {}
"""By the name of the primitive."""


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Register a rule for primitives."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, function))
        return function

    return register


def append(graph: Graph, op: Operation) -> None:
    """Append what computes an operation.

    Raises:
        UnsupportedError: There is no rule for it, or the rule does not cover it; the message names the primitive.
    """
    try:
        if op.name not in RULES:
            raise UnsupportedError("there is no such operator")
        names = RULES[op.name](graph, [graph.read(x) for x in op.inputs], op)
    except UnsupportedError as error:
        inputs = ", ".join(f"{x.dtype}{list(x.shape)}" for x in map(described, op.inputs))
        raise UnsupportedError(
            f"ONNX cannot compute the primitive `{op.name}` of {inputs} ({error}); export to `stablehlo`, which can"
        ) from None
    for x, name in zip(op.outputs, [names] if isinstance(names, str) else names, strict=True):
        graph.write(x, name)


def described(x: Value | Constant) -> Any:
    """Give something with the shape and the dtype of a value or constant."""
    return x.array if isinstance(x, Constant) else x
