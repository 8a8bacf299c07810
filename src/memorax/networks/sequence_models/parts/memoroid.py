"""Sequence models of cells that compute whole sequences."""

import inspect
from typing import Any

import flax.linen as nn
import jax

from memorax.core.types import Array, Carry, Key
from memorax.networks.sequence_models.parts.base import check_sequence
from memorax.networks.sequence_models.parts.cell import ConfiguredModule
from memorax.networks.sequence_models.parts.long import CHUNK, unroll_in_chunks


class Memoroid(nn.Module):
    """A sequence model of a cell that computes whole sequences, in parallel over time or in chunks.

    The cell maps `(carry, inputs [batch, time, features], done [batch, time])` to `(carry, outputs)`, with resets
    inside the sequence. A single step is a sequence of length one. For cells that compute a step, see `RNN`.

    Attributes:
        cell: A cell such as `LRUCell(features=64)` or `Mamba2Cell(features=64)`.

    Example:
        >>> import jax.numpy as jnp
        >>> from memorax.networks import LRUCell
        >>> lru = Memoroid(cell=LRUCell(features=4, hidden_dim=3))
        >>> inputs, done = jnp.zeros((2, 5, 6)), jnp.zeros((2, 5), bool)
        >>> (carry, outputs), _ = lru.init_with_output(jax.random.key(0), inputs, done)
        >>> outputs.shape
        (2, 5, 4)
    """

    cell: Any

    def __post_init__(self) -> None:
        """Check the cell.

        Raises:
            TypeError: If `cell` does not compute sequences.
        """
        if not isinstance(self.cell, nn.Module) or not callable(getattr(self.cell, "initialize_carry", None)):
            raise TypeError(f"`cell` must be a cell such as LRUCell(features=64), got {self.cell!r}")
        if list(inspect.signature(type(self.cell).__call__).parameters)[1:4] != ["carry", "inputs", "done"]:
            raise TypeError(
                f"`cell` must compute whole sequences, got {type(self.cell).__name__}; write `RNN(cell=...)` around a "
                "cell that computes a step, and nothing around a sequence model"
            )
        super().__post_init__()

    @nn.nowrap
    def initialize_carry(self, key: Key, input_shape: tuple[int, ...]) -> Carry:
        """Give the carry before an episode's first step.

        Args:
            key: Not used: a memory starts the same way in every episode and row.
            input_shape: `(batch, features)`; `features` is not used.

        Returns:
            The cell's carry, arrays with a batch axis in front.
        """
        return self.cell.initialize_carry(key, input_shape)

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
        if initial_carry is None:
            initial_carry = self.initialize_carry(jax.random.key(0), (inputs.shape[0], inputs.shape[-1]))
        chunk = CHUNK if isinstance(self.cell, ConfiguredModule) else None
        return unroll_in_chunks(self.cell, "__call__", initial_carry, inputs, done, chunk=chunk)
