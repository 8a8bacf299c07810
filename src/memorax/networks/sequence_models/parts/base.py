"""The protocol of sequence models, and the reset of carries."""

import inspect
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from memorax.core.types import Array, Carry, Key


@runtime_checkable
class SequenceModel(Protocol):
    """The protocol of memory models: a Flax module that maps a sequence to a sequence and returns its carry.

    A carry is a pytree of arrays, batch first, whose shapes and dtypes are the same in every call.
    """

    def initialize_carry(self, key: Key, input_shape: tuple[int, ...]) -> Carry:
        """Give the carry at the start of an episode for `input_shape` `(batch, features)`; works unbound."""
        ...

    def __call__(self, inputs: Array, done: Array, initial_carry: Carry = None) -> tuple[Carry, Array]:
        """Map inputs `[batch, time, features]`, with a reset before each step where `done` `[batch, time]` is True."""
        ...


def is_sequence_model(module: Any) -> bool:
    """Whether an object is a sequence model: it has `initialize_carry`, and a call with inputs and `done`."""
    if isinstance(module, type) or not callable(getattr(module, "initialize_carry", None)):
        return False
    parameters = list(inspect.signature(type(module).__call__).parameters)
    return "done" in parameters and parameters[1] != "carry"  # a cell of whole sequences has its carry first


def select_carry(done: Array, fresh: Carry, carry: Carry) -> Carry:
    """Reset a carry where an episode starts.

    Args:
        done: True where the carry is reset, `[batch]`.
        fresh: The carry before an episode's first step; its batch axis may have size 1.
        carry: The carry so far, `[batch, ...]`.

    Returns:
        `fresh` where `done`, else `carry`. It is a selection: a NaN in the carry does not survive it.
    """

    def select(new: Array, old: Array) -> Array:
        return jnp.where(done.reshape(done.shape + (1,) * (old.ndim - done.ndim)), new, old)

    return jax.tree.map(select, fresh, carry)


def check_sequence(inputs: Array, done: Array) -> None:
    """Check the shapes of a call of a sequence model.

    Args:
        inputs: Should be `[batch, time, features]`.
        done: Should be `[batch, time]`.

    Raises:
        ValueError: If they are not.
    """
    if inputs.ndim != 3:
        raise ValueError(f"`inputs` must be [batch, time, features], got shape {inputs.shape}")
    if done.shape != inputs.shape[:2]:
        raise ValueError(
            f"`done` must have shape (batch, time) = {inputs.shape[:2]}, got {done.shape}; is it time-major?"
        )
