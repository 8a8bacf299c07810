"""Programs that tests run for long."""

from collections.abc import Callable
from typing import Any

import jax

OPTIMIZED = {"xla_backend_optimization_level": 3, "xla_cpu_use_fusion_emitters": True}
"""What `conftest.py` leaves out, because most tests compile for longer than they compute. Training for thousands of
updates takes three to nine times as long without it."""


def compile_for_long(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    """Compile a function with all optimizations, as outside of tests; the arguments are those of `jax.jit`."""
    return jax.jit(function, compiler_options=OPTIMIZED, **options)
