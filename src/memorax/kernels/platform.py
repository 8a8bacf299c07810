"""Which platform a kernel is written for, and what a GPU is given that a CPU is not.

Every kernel has one definition and, where it pays, a form for each platform. The form is chosen while a function is
traced, from the device on which JAX would run it: a CPU actor in a process with a GPU is traced, and run, inside
`jax.default_device(jax.devices("cpu")[0])`. `jax.lax.platform_dependent` would choose later, when a program is lowered,
but it traces every form and keeps what the gradients of all of them need. All forms compute the same function.
"""

from typing import Any, cast

import jax

GPU_PRECISION: jax.lax.Precision | jax.lax.DotAlgorithmPreset = jax.lax.DotAlgorithmPreset.TF32_TF32_F32_X3
"""How a GPU multiplies the matrices of chunked recurrences.

Three products on tensor cores, with errors of 1e-6. Its default would round the factors to 10 bits (TF32): a step alone
and a whole chunk would then differ.
"""
GPU_UNROLL = 4
"""Steps of a sequential recurrence in one iteration of a GPU's loop."""


def on_cpu() -> bool:
    """Whether what is traced now is for a CPU.

    Returns:
        True if the device chosen by `jax.default_device`, else JAX's default backend, is a CPU.
    """
    device = cast(Any, jax.config).jax_default_device  # what `jax.default_device` sets
    if device is None:
        return jax.default_backend() == "cpu"
    return (device if isinstance(device, str) else device.platform) == "cpu"


def precision() -> jax.lax.Precision | jax.lax.DotAlgorithmPreset:
    """How to multiply matrices as precisely as float32 does."""
    return jax.lax.Precision.HIGHEST if on_cpu() else GPU_PRECISION


def unroll() -> int:
    """How many steps of a sequential recurrence to take in one iteration of a loop."""
    return 1 if on_cpu() else GPU_UNROLL
