"""A policy as an ONNX graph of elementary operators, which many runtimes and devices run.

The deterministic step of a memory model is plain arithmetic: no loop, no random number. It is traced, what depends on
constants alone is computed, and each primitive that is left becomes one or a few operators. (The library for this,
jax2onnx, needs an older orbax-checkpoint than memorax from its version 0.13.1 on, and version 0.13.0 converts 11 of the
27 memory models.)
"""

from memorax.experiment.export.onnx.convert import to_onnx

__all__ = ["to_onnx"]
