"""What every sequence model keeps to, and the reset that they share."""

import inspect
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from memorax.core.types import Array, Carry, Key


@runtime_checkable
class SequenceModel(Protocol):
    """A memory: maps a sequence to a sequence and carries a state along.

    A carry holds arrays only, batch first, and keeps shapes and dtypes from call to call.
    """

    def initialize_carry(self, key: Key, input_shape: tuple[int, ...]) -> Carry:
        """Give the carry before an episode's first step for `input_shape` `(batch, features)`; works unbound."""
        ...

    def __call__(self, inputs: Array, done: Array, initial_carry: Carry = None) -> tuple[Carry, Array]:
        """Consume inputs `[batch, time, features]`, forgetting before each step where `done` `[batch, time]`."""
        ...


def is_sequence_model(module: Any) -> bool:
    """Whether an object speaks the protocol: it starts a carry, and its call takes `done`."""
    if isinstance(module, type) or not callable(getattr(module, "initialize_carry", None)):
        return False
    return "done" in inspect.signature(type(module).__call__).parameters


def select_carry(done: Array, fresh: Carry, carry: Carry) -> Carry:
    """Forget where an episode starts.

    Args:
        done: True where to forget, `[batch]`.
        fresh: The carry before an episode's first step; its batch axis may have size 1.
        carry: The carry so far, `[batch, ...]`.

    Returns:
        `fresh` where `done`, else `carry`. It is a selection: a NaN in the carry does not survive it.
    """

    def select(new: Array, old: Array) -> Array:
        return jnp.where(done.reshape(done.shape + (1,) * (old.ndim - done.ndim)), new, old)

    return jax.tree.map(select, fresh, carry)


def check_sequence(inputs: Array, done: Array) -> None:
    """Check the shapes of a call.

    Args:
        inputs: What should be `[batch, time, features]`.
        done: What should be `[batch, time]`.

    Raises:
        ValueError: If they are not.
    """
    if inputs.ndim != 3:
        raise ValueError(f"`inputs` must be [batch, time, features], got shape {inputs.shape}")
    if done.shape != inputs.shape[:2]:
        raise ValueError(
            f"`done` must have shape (batch, time) = {inputs.shape[:2]}, got {done.shape}; is it time-major?"
        )
