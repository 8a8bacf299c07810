"""Flattening of feature axes."""

import flax.linen as nn

from memorax.core.checks import check_fields, integer, size
from memorax.core.types import Array


class Flatten(nn.Module):
    """Merge the feature axes into one and keep the leading axes.

    Attributes:
        start_dim: The first axis to merge; 2 keeps batch and time.
        end_dim: The last axis to merge.

    Example:
        >>> import jax.numpy as jnp
        >>> Flatten()(jnp.zeros((2, 5, 3, 4))).shape
        (2, 5, 12)
    """

    start_dim: int = 2
    end_dim: int = -1

    def __post_init__(self) -> None:
        """Check the axes.

        Raises:
            TypeError: If an axis is not an integer.
            ValueError: If `start_dim` is below 1: the batch is never flattened.
        """
        check_fields(self, start_dim=size(), end_dim=integer(-(2**31)))
        super().__post_init__()

    def __call__(self, inputs: Array) -> Array:
        """Flatten.

        Args:
            inputs: `[batch, time, ...]`.

        Returns:
            `[batch, time, features]`; an input without feature axes gets one of size 1.

        Raises:
            ValueError: If the axes to merge are not there.
        """
        if inputs.ndim == self.start_dim:
            return inputs[..., None]
        end = self.end_dim + inputs.ndim if self.end_dim < 0 else self.end_dim
        if not self.start_dim <= end < inputs.ndim:
            raise ValueError(
                f"`inputs` of Flatten must have axes {self.start_dim} to {self.end_dim}, got shape {inputs.shape}"
            )
        return inputs.reshape(*inputs.shape[: self.start_dim], -1, *inputs.shape[end + 1 :])
