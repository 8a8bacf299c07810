"""The registry of memory models."""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn

from memorax.core.registry import Registry


@dataclasses.dataclass(frozen=True)
class ModelEntry:
    """A registered memory model: how to build it, and what its properties are to be checked with.

    Attributes:
        build: Makes the torso; its first argument, given by position, is the width of the outputs.
        memoryless: Whether it forgets every step at once, by design.
        receptive_field: How many steps the example sees, the current one included; None: all since the episode's start.
        tolerance: How far two ways to compute the same outputs may differ, relative.
        example: Further arguments of `build` for a model small enough to test.
    """

    build: Callable[..., nn.Module]
    memoryless: bool = False
    receptive_field: int | None = None
    tolerance: float = 1e-5
    example: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __call__(self, features: int = 64, **options: Any) -> nn.Module:
        """Build the torso with `features` outputs."""
        return self.build(features, **options)


MODELS: Registry[ModelEntry] = Registry("memory model")
"""All memory models by name."""
