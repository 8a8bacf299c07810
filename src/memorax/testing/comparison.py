"""How the checks compare arrays, and say what differs."""

from functools import partial
from typing import Any

import jax
import numpy as np

compiled = partial(jax.jit, compiler_options={"xla_backend_optimization_level": "0"})
"""`jax.jit` for programs that take longer to compile than to run."""


def require(condition: Any, message: str) -> None:
    """Raise an `AssertionError` with `message` where a condition does not hold."""
    if not condition:
        raise AssertionError(message)


def close(got: Any, want: Any, tolerance: float, what: str) -> None:
    """Compare two pytrees: the largest difference of a leaf, relative to its largest magnitude.

    Args:
        got: What was computed.
        want: What it should be.
        tolerance: How large the relative difference may be.
        what: What is compared, for the message.

    Raises:
        AssertionError: If trees, shapes or values differ.
    """
    require(jax.tree.structure(got) == jax.tree.structure(want), f"{what}: the pytrees have different structures")
    for pair in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        a, b = (np.asarray(x, np.float64) for x in pair)
        require(a.shape == b.shape, f"{what}: shape {a.shape}, expected {b.shape}")
        error = np.max(np.abs(a - b), initial=0) / max(1e-3, np.max(np.abs(b), initial=0))
        require(error <= tolerance, f"{what}: relative difference {error:.2g}, allowed {tolerance:.2g}")


def same(got: Any, want: Any, what: str) -> None:
    """Compare two pytrees bit for bit; NaN equals NaN.

    Args:
        got: What was computed.
        want: What it should be.
        what: What is compared, for the message.

    Raises:
        AssertionError: If trees, shapes or values differ.
    """
    require(jax.tree.structure(got) == jax.tree.structure(want), f"{what}: the pytrees have different structures")
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        require(np.shape(a) == np.shape(b), f"{what}: shape {np.shape(a)}, expected {np.shape(b)}")
        floating = np.issubdtype(np.asarray(a).dtype, np.inexact)
        require(np.array_equal(np.asarray(a), np.asarray(b), equal_nan=floating), f"{what}: not the same bits")
