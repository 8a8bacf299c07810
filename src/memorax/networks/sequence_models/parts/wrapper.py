"""Feed-forward modules as sequence models."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn

from memorax.core.types import Array, Carry, Key
from memorax.networks.sequence_models.parts.base import is_sequence_model


class Memoryless(nn.Module):
    """A feed-forward module as a sequence model without memory; its carry is `()`.

    Attributes:
        network: Maps `[batch, time, features]` step by step.
    """

    network: Callable[..., Any]

    @nn.nowrap
    def initialize_carry(self, key: Key, input_shape: tuple[int, ...]) -> Carry:
        """Give the empty carry."""
        del key, input_shape
        return ()

    def __call__(
        self, inputs: Array, done: Array | None = None, initial_carry: Carry = None, **kwargs: Any
    ) -> tuple[Carry, Array]:
        """Apply the module to every step.

        Args:
            inputs: `[batch, time, features]`.
            done: Not used.
            initial_carry: Not used.
            **kwargs: Further arguments of the module.

        Returns:
            `()` and the outputs `[batch, time, features]`.
        """
        del done, initial_carry
        return (), self.network(inputs, **kwargs)


def SequenceModelWrapper(network: Any) -> Any:  # noqa: N802 (reads as the class it stands for)
    """Make a sequence model of a feed-forward module; a sequence model is returned unchanged.

    Args:
        network: A feed-forward module or function of `[batch, time, features]`, or a sequence model.

    Returns:
        A sequence model: `network` itself if it is one, else one without memory that applies it to each step.

    Raises:
        TypeError: If `network` is a recurrent cell, or not callable.
    """
    return as_sequence_model("network", network)


def as_sequence_model(name: str, network: Any) -> Any:
    """Do what `SequenceModelWrapper` does, for an argument of another name.

    Args:
        name: The argument, for messages.
        network: What was given.

    Raises:
        TypeError: If `network` is a recurrent cell, a class, or not callable.
    """
    if isinstance(network, type) or not callable(network):
        raise TypeError(f"`{name}` must be a module or a function, got {network!r}")
    if is_sequence_model(network):
        return network
    if callable(getattr(network, "initialize_carry", None)):
        raise TypeError(
            f"`{name}` must be a sequence model or feed-forward, got the recurrent cell {type(network).__name__}; "
            "write `RNN(cell=...)` or `Memoroid(cell=...)` around it"
        )
    return Memoryless(network)
