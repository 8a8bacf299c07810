"""A policy as a StableHLO program, which JAX runs without the code that it was made from."""

import importlib.metadata

import jax
from jax import export

from memorax.experiment.export.program import Program
from memorax.experiment.export.step import ExportedStep
from memorax.experiment.libraries import require

PLATFORMS = ("cpu", "cuda")
"""What an exported program runs on."""


def to_stablehlo(step: ExportedStep) -> Program:
    """Export a step by `jax.export`, with a batch of any size, for CPUs and NVIDIA GPUs.

    Raises:
        ImportError: flatbuffers is not installed, which `jax.export` writes with.
    """
    require("flatbuffers", "export", "this export format")
    (batch,) = export.symbolic_shape("batch")
    # Kernels choose their form by the device; what they choose for a CPU runs everywhere.
    with jax.default_device(jax.devices("cpu")[0]):
        exported = export.export(jax.jit(step.__call__), platforms=PLATFORMS)(*step.arguments(batch))
    details = {"platforms": list(PLATFORMS), "calling_convention_version": exported.calling_convention_version}
    return Program("policy.stablehlo", bytes(exported.serialize()), details, {"jax": importlib.metadata.version("jax")})
