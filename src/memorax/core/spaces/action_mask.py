"""The one way to take an action mask out of an observation, or out of its space."""

from collections.abc import Mapping
from typing import Any

from memorax.core.spaces.nested import Dict

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
