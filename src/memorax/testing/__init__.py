"""Checks for your own memory models, environments and algorithms: the properties that the package's own keep."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from memorax.testing.algorithms import check_algorithm
    from memorax.testing.environments import check_environment
    from memorax.testing.sequence_models import check_sequence_model

__all__ = ["check_algorithm", "check_environment", "check_sequence_model"]

_HOMES = {
    "check_algorithm": "algorithms",
    "check_environment": "environments",
    "check_sequence_model": "sequence_models",
}
"""The module of each name."""


def __getattr__(name: str) -> Any:
    """Load a check when it is asked for."""
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
