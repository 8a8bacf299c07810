"""Comparisons of pytrees."""

from typing import Any

import jax
import numpy as np


def assert_equal(a: Any, b: Any) -> None:
    """Every leaf has the same bits."""
    jax.tree.map(np.testing.assert_array_equal, a, b)


def assert_close(a: Any, b: Any) -> None:
    """Every leaf is equal up to rounding."""
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6), a, b)
