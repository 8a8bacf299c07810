"""Sequence models of recurrent cells."""

import inspect
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from memorax.core.checks import boolean, check, check_fields, floating, function, optional, size
from memorax.core.types import Array, Carry, Key
from memorax.networks.sequence_models.parts.base import check_sequence, select_carry
from memorax.networks.sequence_models.parts.cell import ConfiguredModule
from memorax.networks.sequence_models.parts.fused import find_kernel
from memorax.networks.sequence_models.parts.long import CHUNK, unroll_in_chunks
from memorax.networks.sequence_models.parts.nnx_cell import NNXCell, is_nnx_module

_CELL_FIELDS = {
    "features": size(),
    "dtype": optional(floating()),
    "param_dtype": floating(),
    **dict.fromkeys(("residual", "reset_gate"), boolean()),
    **dict.fromkeys(("activation_fn", "gate_fn"), function()),
    **dict.fromkeys((f"{part}_init" for part in ("kernel", "recurrent_kernel", "bias", "carry")), function()),
    **dict.fromkeys((f"{part}_bias_init" for part in ("forget", "activation")), function()),
}
"""What cells of Flax do not check themselves."""


class RNN(nn.Module):
    """A sequence model of a recurrent cell, which it runs over time with resets inside the sequence.

    The initial carry is the same in every episode and row: the cell's `initialize_carry` gets one fixed key. Random
    streams other than `params` (dropout) are split over time. `nn.GRUCell`, `nn.LSTMCell`, `nn.OptimizedLSTMCell`,
    `nn.MGUCell` and `nn.SimpleCell` with their default activations run in a fused kernel, with the same parameters and
    results.

    Attributes:
        cell: A Flax Linen cell (`nn.GRUCell(features=64)`, or your own: a module with `initialize_carry` that maps
            `(carry, inputs)` to `(carry, outputs)`), or an NNX cell, see `NNXCell`. A cell with a method
            `unroll(carry, inputs [batch, time, features], done [batch, time])` computes whole sequences by it.
        fused: Whether to use the fused kernel where there is one. It has no forward-mode derivative.

    Example:
        >>> rnn = RNN(cell=nn.GRUCell(features=4))
        >>> inputs, done = jnp.zeros((2, 5, 3)), jnp.zeros((2, 5), bool)
        >>> (carry, outputs), _ = rnn.init_with_output(jax.random.key(0), inputs, done)
        >>> carry.shape, outputs.shape
        ((2, 4), (2, 5, 4))
    """

    cell: Any
    fused: bool = True

    def __post_init__(self) -> None:
        """Check the cell, and adapt an NNX one.

        Raises:
            TypeError: If `cell` is not a recurrent cell.
            ValueError: If `cell` has more than one feature axis or a size below 1.
        """
        if is_nnx_module(self.cell):
            self.cell = NNXCell.adapt(self.cell)
        _check_cell(self.cell)
        check_fields(self, fused=boolean())
        super().__post_init__()

    @nn.nowrap
    def initialize_carry(self, key: Key, input_shape: tuple[int, ...]) -> Carry:
        """Give the carry before an episode's first step.

        Args:
            key: Not used, see the class.
            input_shape: `(batch, features)`; `features` is not used by any cell with a state of fixed size.

        Returns:
            The cell's carry, arrays with a batch axis in front.

        Raises:
            TypeError: If the cell's carry holds anything but arrays.
        """
        del key
        batch, features = input_shape
        carry = self.cell.initialize_carry(jax.random.key(0), (1, features))
        return jax.tree.map(lambda leaf: _start(self.cell, leaf, batch), carry, is_leaf=lambda leaf: leaf is None)

    def __call__(self, inputs: Array, done: Array, initial_carry: Carry = None) -> tuple[Carry, Array]:
        """Run the cell over time.

        Args:
            inputs: `[batch, time, features]`.
            done: True where the memory is reset before the step, `[batch, time]`.
            initial_carry: The carry before the first step; None: that of an episode's start.

        Returns:
            The carry after the last step, and the outputs `[batch, time, features]`.

        Raises:
            ValueError: If the shapes do not fit.
        """
        check_sequence(inputs, done)
        fresh = self.initialize_carry(jax.random.key(0), (1, inputs.shape[-1]))
        carry = initial_carry
        if carry is None:
            carry = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (inputs.shape[0], *leaf.shape[1:])), fresh)

        if callable(getattr(self.cell, "unroll", None)):
            chunk = CHUNK if isinstance(self.cell, ConfiguredModule) else None
            return unroll_in_chunks(self.cell, "unroll", carry, inputs, done, chunk=chunk)
        kernel = find_kernel(self.cell) if self.fused else None
        if kernel is None:
            return self._scan(inputs, done, carry, fresh)
        if self.is_initializing():
            self.cell(carry, inputs[:, 0])  # makes the parameters: names, shapes and initializers are the cell's
        return kernel(self.cell.variables["params"], inputs, done, carry, fresh)

    def _scan(self, inputs: Array, done: Array, carry: Carry, fresh: Carry) -> tuple[Carry, Array]:
        def step(cell: nn.Module, carry: Carry, now: tuple[Array, Array]) -> tuple[Carry, Array]:
            inputs, done = now
            after, outputs = cell(select_carry(done, fresh, carry), inputs)
            return jax.tree.map(_keep_type, after, carry), outputs

        if inputs.shape[1] == 1:
            carry, outputs = step(self.cell, carry, (inputs[:, 0], done[:, 0]))
            return carry, outputs[:, None]
        scan = nn.scan(
            step,
            variable_broadcast="params",
            split_rngs={"params": False, nn.DenyList("params"): True},
            in_axes=1,
            out_axes=1,
        )
        return scan(self.cell, carry, (inputs, done))


def _keep_type(new: Array, old: Array) -> Array:
    """Keep the type of a state where parameters or activations have another floating-point type."""
    floats = jnp.issubdtype(new.dtype, jnp.floating) and jnp.issubdtype(old.dtype, jnp.floating)
    return new.astype(old.dtype) if floats else new


def _check_cell(cell: Any) -> None:
    is_cell = isinstance(cell, nn.Module) and callable(getattr(cell, "initialize_carry", None))
    if not is_cell or "done" in inspect.signature(type(cell).__call__).parameters:
        raise TypeError(f"`cell` must be a recurrent cell such as nn.GRUCell(features=64), got {cell!r}")
    try:
        axes = cell.num_feature_axes if isinstance(cell, nn.RNNCellBase) else 1
    except NotImplementedError:
        axes = 1
    if axes != 1:
        raise ValueError(f"`cell` must have one feature axis, got {type(cell).__name__} with {axes}")
    if isinstance(cell, nn.RNNCellBase):
        for name, kind in _CELL_FIELDS.items():
            if hasattr(cell, name):
                check(name, getattr(cell, name), kind)


def _start(cell: Any, leaf: Any, batch: int) -> Array:
    if not isinstance(leaf, jax.Array | np.ndarray) or leaf.ndim == 0 or leaf.shape[0] != 1:
        raise TypeError(
            f"`initialize_carry` of {type(cell).__name__} must give arrays with the batch in front, got {leaf!r}"
        )
    # A weak type would turn into a strong one after the first step, and compile everything twice.
    return jnp.broadcast_to(jnp.array(leaf, leaf.dtype), (batch, *leaf.shape[1:]))
