"""Checks of the action spaces that heads serve."""

from typing import Any

import numpy as np

from memorax.core.spaces import Box, Discrete


def check_discrete(head: str, action_dim: int, space: Any) -> None:
    """Require a discrete space of as many actions as the head serves.

    Args:
        head: The head's name, for the message.
        action_dim: How many actions the head serves.
        space: An action space.

    Raises:
        TypeError: If `space` is not discrete.
        ValueError: If its number of actions is not `action_dim`.
    """
    if not isinstance(space, Discrete):
        raise TypeError(f"head `{head}` needs a Discrete action space, got {space!r}; use a continuous head for a Box")
    if space.n != action_dim:
        raise ValueError(f"`action_dim` of head `{head}` must be {space.n} for {space!r}, got {action_dim}")


def check_box(head: str, action_dim: int | None, space: Any, *, bounded: bool = False) -> None:
    """Require a box of action vectors.

    Args:
        head: The head's name, for the message.
        action_dim: How many dimensions the head serves; None serves any.
        space: An action space.
        bounded: Whether the box must have finite borders.

    Raises:
        TypeError: If `space` is not a box of floating-point numbers.
        ValueError: If its shape is not `(action_dim,)`, or a border is infinite where it must not be.
    """
    if not isinstance(space, Box):
        raise TypeError(f"head `{head}` needs a Box action space, got {space!r}; use `Categorical` for a Discrete one")
    if np.dtype(space.dtype).kind in "biu":
        raise TypeError(f"head `{head}` needs a Box of floating-point actions, got {space!r}")
    if action_dim is not None and tuple(space.shape) != (action_dim,):
        raise ValueError(
            f"`action_dim` of head `{head}` must fit the shape {tuple(space.shape)} of {space!r}, got {action_dim}; "
            "actions are vectors"
        )
    if bounded and not (np.all(np.isfinite(space.low)) and np.all(np.isfinite(space.high))):
        raise ValueError(f"head `{head}` needs a Box with finite borders, got {space!r}; use `Gaussian`")
