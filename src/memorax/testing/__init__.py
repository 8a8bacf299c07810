"""Checks for your own environments: the properties that the package's own keep."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from memorax.testing.environments import check_environment

__all__ = ["check_environment"]

_HOMES = {"check_environment": "environments"}
"""The module of each name."""


def __getattr__(name: str) -> Any:
    """Load a check when it is asked for."""
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
