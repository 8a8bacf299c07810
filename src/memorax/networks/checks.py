"""Checks of the action spaces that heads serve."""

import math
from typing import Any

import numpy as np

from memorax.core.spaces import ACTION_MASK, Box, Dict, Discrete, MultiDiscrete, Space, Tuple
from memorax.core.types import Array


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
        raise TypeError(f"head `{head}` needs a Discrete action space, got {space!r}; {_hint(space)}")
    if space.n != action_dim:
        raise ValueError(f"`action_dim` of head `{head}` must be {space.n} for {space!r}, got {action_dim}")


def check_multi_discrete(head: str, nvec: tuple[int, ...], space: Any) -> None:
    """Require a space of several discrete actions, with as many choices each as the head serves.

    Args:
        head: The head's name, for the message.
        nvec: How many choices each entry of the head's actions has.
        space: An action space.

    Raises:
        TypeError: If `space` is neither MultiDiscrete nor MultiBinary.
        ValueError: If it has other numbers of choices.
    """
    if not isinstance(space, MultiDiscrete):
        raise TypeError(
            f"head `{head}` needs a MultiDiscrete or MultiBinary action space, got {space!r}; {_hint(space)}"
        )
    if space.nvec != tuple(nvec):
        raise ValueError(f"`nvec` of head `{head}` must be {space.nvec} for {space!r}, got {tuple(nvec)}")


def check_box(head: str, action_dim: int | None, space: Any, *, bounded: bool = False) -> None:
    """Require a box of actions, of any shape.

    Args:
        head: The head's name, for the message.
        action_dim: How many numbers an action of the head has; None serves any.
        space: An action space.
        bounded: Whether the box must have finite borders.

    Raises:
        TypeError: If `space` is not a box of floating-point numbers.
        ValueError: If an action of it has no number or not `action_dim` of them, or a border is infinite where it must
            not be.
    """
    if not isinstance(space, Box):
        raise TypeError(f"head `{head}` needs a Box action space, got {space!r}; {_hint(space)}")
    if np.dtype(space.dtype).kind in "biu":
        raise TypeError(
            f"head `{head}` needs a Box of floating-point actions, got {space!r}; declare whole numbers as "
            "MultiDiscrete"
        )
    numbers = math.prod(space.shape)
    if numbers == 0:
        raise ValueError(f"head `{head}` needs a Box of at least one number, got {space!r}")
    if action_dim is not None and numbers != action_dim:
        raise ValueError(
            f"`action_dim` of head `{head}` must fit the shape {tuple(space.shape)} of {space!r}, {numbers}, got "
            f"{action_dim}"
        )
    if bounded and not (np.all(np.isfinite(space.low)) and np.all(np.isfinite(space.high))):
        raise ValueError(f"head `{head}` needs a Box with finite borders, got {space!r}; use `Gaussian`")


def check_mask(head: str, mask: Array | None, choices: int) -> None:
    """Require a mask with one flag for each choice of a head.

    Args:
        head: The head's name, for the message.
        mask: The mask, `[..., choices]`, or None.
        choices: How many there are.

    Raises:
        TypeError: If it is not an array.
        ValueError: If its last axis is of another size.
    """
    if mask is None:
        return
    if not hasattr(mask, "shape"):
        raise TypeError(f"`{ACTION_MASK}` of head `{head}` must be one array, got {type(mask).__name__}")
    if mask.shape[-1:] != (choices,):
        raise ValueError(f"`{ACTION_MASK}` of head `{head}` must have a last axis of {choices}, got shape {mask.shape}")


def _hint(space: Any) -> str:
    """Which heads serve a space."""
    kinds = {
        Discrete: "use `Categorical`, or `DiscreteQNetwork` for values",
        MultiDiscrete: "use `MultiCategorical`, or `BranchingQNetwork` for values",
        Box: "use a continuous head such as `Gaussian` for a Box",
        Dict | Tuple: "use `Hybrid`",
        Space: "no head serves it",
    }
    return next((hint for kind, hint in kinds.items() if isinstance(space, kind)), "convert it with `from_foreign`")
