"""Optimizers whose numbers are hyperparameters in the state of a run."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Self

import optax

from memorax.core.hyperparameters import Values
from memorax.core.types import PyTree, weak


@dataclasses.dataclass(frozen=True)
class AdjustableOptimizer:
    """An optax optimizer whose numbers are in `state.hyperparameters`: mapped over, scheduled and changed as any other.

    Its own state is that of the optimizer, whatever the numbers.

    Args:
        make: Makes the optimizer from the numbers, by name; they may be traced, and decide about no shape.
        values: The numbers. Optimizers of one agent that have one of the same name share it, and its value.

    Example:
        >>> def clipped_adam(learning_rate, max_grad_norm):
        ...     return optax.chain(optax.clip_by_global_norm(max_grad_norm), optax.adam(learning_rate))
        >>> optimizer = AdjustableOptimizer(clipped_adam, {"learning_rate": 3e-4, "max_grad_norm": 0.5})
    """

    make: Callable[..., optax.GradientTransformation]
    values: Mapping[str, Any]

    def init(self, params: PyTree) -> PyTree:
        """Make the state of the optimizer."""
        return self.make(**self.values).init(params)

    def update(self, updates: PyTree, state: PyTree, params: PyTree = None, **extra: Any) -> tuple[PyTree, PyTree]:
        """Turn gradients into updates of the parameters, as optax does."""
        return optax.with_extra_args_support(self.make(**self.values)).update(updates, state, params, **extra)

    def hyperparameters(self) -> dict[str, Any]:
        """Give the numbers by name."""
        return dict(self.values)

    def with_hyperparameters(self, values: Values) -> Self:
        """Copy it with other numbers."""
        return dataclasses.replace(
            self, values={name: weak(values[name]) if name in values else x for name, x in self.values.items()}
        )
