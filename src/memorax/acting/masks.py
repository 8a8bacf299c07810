"""Masks of allowed actions, which networks look for in observations."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from memorax.core.types import Array, PyTree


def show_masks(observation: PyTree, env_state: PyTree, reward: Array, *flags_and_info: Any) -> tuple:
    """Put the masks of allowed actions that a step gives in its `info` into its observations.

    Args:
        observation: Observations, `[batch, ...]`.
        env_state: State of the environments.
        reward: Rewards.
        *flags_and_info: `terminated`, `truncated` and `info`.

    Returns:
        The six values again.
    """
    *flags, info = flags_and_info
    if "action_mask" in info:
        mask = info["action_mask"].astype(bool)
        observation = with_mask(observation, mask)
        if "final_observation" in info:
            # The final observation is only valued: which actions it allowed does not matter.
            info = info | {"final_observation": with_mask(info["final_observation"], jnp.ones_like(mask))}
    return observation, env_state, reward, *flags, info


def with_mask(observation: PyTree, mask: Array) -> dict[str, Any]:
    """Put a mask of allowed actions into an observation."""
    parts = dict(observation) if isinstance(observation, Mapping) else {"observation": observation}
    return {"action_mask": mask} | parts
