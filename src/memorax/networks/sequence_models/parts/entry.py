"""The registry of memory models."""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn

from memorax.core.registry import Registry


@dataclasses.dataclass(frozen=True)
class ModelEntry:
    """A registered memory model: how to build it, and how to check it.

    Attributes:
        build: Makes the torso; its first argument, given by position, is the width of the outputs.
        memoryless: Whether it has no memory, by design.
        receptive_field: Number of steps that an output of the example depends on, the current one included; None: all
            since the episode's start.
        tolerance: Allowed relative difference between two ways to compute the same outputs.
        example: Further arguments of `build` for a small model, which the tests check.
    """

    build: Callable[..., nn.Module]
    memoryless: bool = False
    receptive_field: int | None = None
    tolerance: float = 1e-5
    example: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __call__(self, features: int = 64, **options: Any) -> nn.Module:
        """Build the torso with `features` outputs."""
        return self.build(features, **options)


MODELS: Registry[ModelEntry] = Registry(
    "memory model",
    listing="memorax list models",
    plugins="memorax.models",
    adopt=lambda name, entry: MODELS.register(name, entry if isinstance(entry, ModelEntry) else ModelEntry(entry)),
)
"""All memory models by name."""
