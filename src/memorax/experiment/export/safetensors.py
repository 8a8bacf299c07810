"""The parameters of a policy by name, for programs that build the network themselves."""

import importlib.metadata
from typing import Any

import jax
import numpy as np

from memorax.experiment.export.operations import trace
from memorax.experiment.export.program import Program
from memorax.experiment.export.step import ExportedStep
from memorax.experiment.libraries import require
from memorax.experiment.run.checkpoint import flatten


def to_safetensors(step: ExportedStep) -> Program:
    """Save every array that acting reads: parameters, and statistics that observations are normalized by.

    Raises:
        ImportError: safetensors is not installed.
    """
    save: Any = require("safetensors.numpy", "export", "this export format").save
    arrays = parameters(step)
    # Not every dtype of JAX is one of numpy's own.
    wide = {name: x.astype(np.float32) if x.dtype.kind == "V" else x for name, x in arrays.items()}
    details = {"parameters": {name: {"shape": list(x.shape), "dtype": x.dtype.name} for name, x in wide.items()}}
    data = save({name: np.ascontiguousarray(x) for name, x in wide.items()})
    return Program("parameters.safetensors", data, details, {"safetensors": importlib.metadata.version("safetensors")})


def parameters(step: ExportedStep) -> dict[str, np.ndarray]:
    """Give the arrays of an agent's state that acting, and the values it records, depend on.

    The names are paths in the state without the words that say nothing, such as `actor/torso/cell/hr/kernel`.
    """
    leaves, structure = jax.tree.flatten(step.learned)

    def run(leaves: list[Any], *arguments: Any) -> Any:
        return step.read(jax.tree.unflatten(structure, leaves), *arguments)

    used = trace(run, leaves, *step.arguments(1)).used_inputs()[: len(leaves)]
    paths = flatten(step.learned)
    found = {path: np.asarray(x) for (path, x), needed in zip(paths.items(), used, strict=True) if needed}
    short = {path: "/".join(part for part in path.split("/") if part not in {"learner", "params"}) for path in found}
    unique = len(set(short.values())) == len(short)
    return {short[path] if unique else path: x for path, x in found.items()}
