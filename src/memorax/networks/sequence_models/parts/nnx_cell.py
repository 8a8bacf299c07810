"""NNX cells as Linen cells."""

import sys
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from memorax.core.types import Array, Carry, Key


def is_nnx_module(module: Any) -> bool:
    """Whether an object is an NNX module; does not import NNX."""
    nnx = sys.modules.get("flax.nnx")
    return nnx is not None and isinstance(module, nnx.Module)


class _Blueprint:
    """Structure and parameters of an NNX cell; compared by identity, which keeps Linen modules hashable."""

    def __init__(self, cell: Any) -> None:
        from flax import nnx  # noqa: PLC0415 (a quarter of a second that only users of NNX pay)

        self.name = type(cell).__name__
        self.in_features: int | None = getattr(cell, "in_features", None)
        self.graph, state, rest = nnx.split(cell, nnx.Param, ...)
        if jax.tree.leaves(rest):
            raise TypeError(f"`cell` must hold parameters only, got {self.name} with other state; keep_rngs=False?")
        self.parameters = {path: leaf.get_value() for path, leaf in nnx.to_flat_state(state)}
        self.random = {path for path, value in self.parameters.items() if value.ndim == 2 and np.asarray(value).all()}

    def merge(self, parameters: dict[tuple[Any, ...], Array]) -> Any:
        from flax import nnx  # noqa: PLC0415

        return nnx.merge(
            self.graph, nnx.from_flat_state({path: nnx.Param(value) for path, value in parameters.items()})
        )


class NNXCell(nn.Module):
    """A Linen cell around an NNX cell, with the parameters in the Linen variables.

    An NNX cell holds sampled parameters but not their initializers. So that seeds differ, the rows and columns of each
    kernel are permuted at random by the key of `init`, which keeps the distribution of independent and of orthogonal
    initializations. Vectors, and kernels that contain a zero (such as an identity), are initialized to the NNX values.

    Attributes:
        blueprint: The NNX cell's structure and parameters.
    """

    blueprint: Any

    @classmethod
    def adapt(cls, cell: Any) -> "NNXCell":
        """Make a Linen cell of an NNX cell.

        Args:
            cell: An NNX module with `initialize_carry` that maps `(carry, inputs)` to `(carry, outputs)`.

        Returns:
            The Linen cell.

        Raises:
            TypeError: If `cell` is not recurrent, or holds state besides parameters.
        """
        if not callable(getattr(cell, "initialize_carry", None)):
            raise TypeError(f"`cell` must be a recurrent cell such as nnx.GRUCell, got {type(cell).__name__}")
        return cls(_Blueprint(cell))

    @nn.nowrap
    def initialize_carry(self, key: Key, input_shape: tuple[int, ...]) -> Carry:
        """Give the NNX cell's initial carry for `input_shape` `(batch, features)`."""
        from flax import nnx  # noqa: PLC0415

        cell = self.blueprint.merge(self.blueprint.parameters)
        return cell.initialize_carry(input_shape, rngs=nnx.Rngs(key))

    @nn.compact
    def __call__(self, carry: Carry, inputs: Array) -> tuple[Carry, Array]:
        """Make one step.

        Args:
            carry: The carry before it.
            inputs: `[batch, features]`.

        Returns:
            The carry after it, and the outputs `[batch, features]`.

        Raises:
            ValueError: If `inputs` are not as wide as the NNX cell was built for.
        """
        expected = self.blueprint.in_features
        if expected is not None and inputs.shape[-1] != expected:
            raise ValueError(
                f"`inputs` of {self.blueprint.name} must have the {expected} features it was built for, "
                f"got {inputs.shape[-1]}"
            )
        parameters = {path: self._parameter(path, value) for path, value in self.blueprint.parameters.items()}
        return self.blueprint.merge(parameters)(carry, inputs)

    def _parameter(self, path: tuple[Any, ...], value: Array) -> Array:
        name = "_".join(map(str, path))
        return self.param(name, _permute if path in self.blueprint.random else _keep, value)


def _permute(key: Key, value: Array) -> Array:
    rows, columns = jax.random.split(key)
    return jax.random.permutation(columns, jax.random.permutation(rows, value), axis=1)


def _keep(key: Key, value: Array) -> Array:
    del key
    return value
