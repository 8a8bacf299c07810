"""The base of blocks around one module."""

from typing import Any

import flax.linen as nn

from memorax.core.types import Array, Carry, Key
from memorax.networks.sequence_models.parts.wrapper import as_sequence_model


class Wrapping(nn.Module):
    """A sequence model around one module, whose carry is the module's.

    Attributes:
        module: A sequence model, or a feed-forward module or function of `[batch, time, features]`, which is
            wrapped as a sequence model.
    """

    module: Any

    def __post_init__(self) -> None:
        """Wrap the module.

        Raises:
            TypeError: If `module` is a recurrent cell, or not callable.
        """
        self.module = as_sequence_model("module", self.module)
        super().__post_init__()

    @nn.nowrap
    def initialize_carry(self, key: Key, input_shape: tuple[int, ...]) -> Carry:
        """Give the module's carry before an episode's first step.

        Args:
            key: A random key.
            input_shape: `(batch, features)`.

        Returns:
            The module's carry, arrays with a batch axis in front; `()` for a feed-forward module.
        """
        return self.module.initialize_carry(key, input_shape)


def check_widths(block: str, inputs: Array, outputs: Array) -> None:
    """Require outputs as wide as the inputs.

    Args:
        block: The block's name, for the message.
        inputs: The inputs of the module, `[batch, time, features]`.
        outputs: Its outputs, `[batch, time, features]`.

    Raises:
        ValueError: If the widths differ.
    """
    if inputs.shape[-1] != outputs.shape[-1]:
        raise ValueError(
            f"`module` of {block} must keep the width of its inputs ({inputs.shape[-1]}), got {outputs.shape[-1]}; "
            f"put `Projection({outputs.shape[-1]})` in front of the block"
        )
