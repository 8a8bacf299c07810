"""Action masks: the one way to take them out of an observation, and their check outside of compiled code."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from memorax.core.spaces.base import Space
from memorax.core.spaces.discrete import Discrete, MultiDiscrete
from memorax.core.spaces.nested import Dict, Tuple

ACTION_MASK = "action_mask"
"""The key in a dictionary observation under which an environment says which actions are allowed."""


def split_action_mask(observation: Any) -> tuple[Any, Any]:
    """Split an observation, or an observation space, into what is observed and the mask of allowed actions.

    Args:
        observation: An observation with any axes in front, or the space of observations.

    Returns:
        `(rest, mask)`: without the key `"action_mask"` the observation as it is, and None; with it the entry that is
        left, or a dictionary of them where there are several, and the mask, `[..., actions]`.

    Raises:
        ValueError: If there is nothing but a mask.
    """
    parts = observation.spaces if isinstance(observation, Dict) else observation
    if not isinstance(parts, Mapping) or ACTION_MASK not in parts:
        return observation, None
    rest = {name: part for name, part in parts.items() if name != ACTION_MASK}
    if not rest:
        raise ValueError(f"the observation must hold more than `{ACTION_MASK}`, got only that; add what is observed")
    if len(rest) == 1:
        return next(iter(rest.values())), parts[ACTION_MASK]
    return (Dict(rest) if isinstance(observation, Dict) else rest), parts[ACTION_MASK]


def check_action_mask(space: Space, mask: Any) -> None:
    """Require that a mask fits an action space and allows an action; for masks that are known, outside of `jax.jit`.

    Compiled code cannot raise: there, where a mask allows nothing, all actions are equally probable, none passes a
    gradient, and the greedy action is the first.

    Args:
        space: The action space.
        mask: True where an action is allowed, with any axes in front. For Discrete `[..., n]`; for MultiDiscrete and
            MultiBinary the masks of the entries side by side, `[..., sum(nvec)]`; for Dict and Tuple the masks of the
            entries that have one, by key or, with None for an entry that has none, by position.

    Raises:
        ValueError: If the mask has another form, or allows nothing somewhere.
    """
    if isinstance(space, Dict) and isinstance(mask, Mapping) and set(mask) <= set(space.spaces):
        parts = [(space.spaces[name], part) for name, part in mask.items()]
    elif isinstance(space, Tuple) and isinstance(mask, tuple | list) and len(mask) == len(space.spaces):
        parts = list(zip(space.spaces, mask, strict=True))
    else:
        _check_one(space, mask)
        return
    for part, its_mask in parts:
        if its_mask is not None:
            check_action_mask(part, its_mask)


def _check_one(space: Space, mask: Any) -> None:
    if isinstance(space, Discrete):
        sizes: tuple[int, ...] = (space.n,)
    elif isinstance(space, MultiDiscrete):
        sizes = space.nvec
    else:
        raise ValueError(f"`{ACTION_MASK}` must be that of {space!r}, got {jax.tree.structure(mask)}")
    allowed = np.asarray(mask).astype(bool)
    if allowed.shape[-1:] != (sum(sizes),):
        raise ValueError(f"`{ACTION_MASK}` must have a last axis of {sum(sizes)} for {space!r}, got {allowed.shape}")
    parts = np.split(allowed, np.cumsum(sizes)[:-1], axis=-1)
    for i, part in enumerate(parts):
        if not part.any(axis=-1).all():
            where = "" if len(parts) == 1 else f" of entry {i}"
            raise ValueError(
                f"`{ACTION_MASK}` must allow at least one action{where} of {space!r}, got none; where nothing can be "
                "done, allow all"
            )
