"""Converting the step of a policy."""

import importlib.metadata

import jax
from jax import export

from memorax.experiment.export.onnx import arrays, elementwise, products  # noqa: F401  they register their rules
from memorax.experiment.export.onnx.graph import OPSET, Graph, append
from memorax.experiment.export.operations import trace
from memorax.experiment.export.program import Program
from memorax.experiment.export.step import ExportedStep
from memorax.experiment.libraries import require


def to_onnx(step: ExportedStep) -> Program:
    """Convert a step, with a batch of any size.

    The inputs are the carry, the observation, `reward` and `episode_start`; the outputs are `action` and the carry
    after the step, with `next/` before its names.

    Raises:
        ImportError: onnx is not installed.
        ValueError: A primitive has no counterpart; the message names it.
    """
    require("onnx", "onnx", "this export format")
    (batch,) = export.symbolic_shape("batch")
    arguments = step.arguments(batch)
    with jax.default_device(jax.devices("cpu")[0]):
        operations = trace(step.__call__, *arguments).with_constants_folded()

    carry, observation, reward, start = step.arguments(1)
    # Dictionaries in the order in which JAX visits them.
    carry, observation = (dict(sorted(x.items())) for x in (carry, observation))
    inputs = {**carry, **observation, "reward": reward, "episode_start": start}
    graph = Graph(operations, list(inputs), batch)
    for op in operations.operations:
        append(graph, op)
    outputs = {
        "action": jax.eval_shape(step, *step.arguments(1))[0],
        **{f"next/{name}": x for name, x in carry.items()},
    }
    for name, x in zip(outputs, operations.outputs, strict=True):
        graph.name_output(x, name)
    # The carry in the order of the card.
    names = ["action", *(f"next/{name}" for name in step.initial_carry)]
    data = graph.model(inputs, {name: outputs[name] for name in names})
    return Program("policy.onnx", data, {"opset": OPSET}, {"onnx": importlib.metadata.version("onnx")})
