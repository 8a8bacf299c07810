"""Comparisons of pytrees."""

from typing import Any

import jax
import numpy as np


def assert_equal(a: Any, b: Any) -> None:
    """Every leaf has the same bits."""
    jax.tree.map(np.testing.assert_array_equal, a, b)
