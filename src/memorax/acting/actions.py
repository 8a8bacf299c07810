"""Actions in the two forms that they have, as policies give them and as environments take them, and their masks."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from memorax.core.spaces import ACTION_MASK, Box, Dict, Space, Tuple, map_space
from memorax.core.types import Array, PyTree

FINAL = "final_observation"
"""The key in `info` of the observation before a reset."""


def no_actions(policy_space: Space, num_envs: int) -> PyTree:
    """Make what stands for the previous actions where there are none: zeros, `[num_envs, ...]`.

    Args:
        policy_space: The actions as policies give them.
        num_envs: Number of environments.
    """

    def zeros(space: Space) -> Array:
        return jnp.zeros((num_envs, *space.shape), jnp.float32 if isinstance(space, Box) else space.dtype)

    return map_space(zeros, policy_space)


def environment_actions(space: Any, policy_space: Any, action: PyTree, bounded: Any) -> PyTree:
    """Give a policy's actions the shape, the scale, the bounds and the dtype that the environment expects.

    Args:
        space: The actions that the environment takes.
        policy_space: The actions as policies give them, `flatten_space(space)`.
        action: The policy's actions, `[..., *policy_space.shape]`.
        bounded: True where they are in `[-1, 1]` and are rescaled to a Box, False where they are clipped to it; nested
            as the space is where its parts differ.

    Returns:
        `[..., *space.shape]`.
    """
    if isinstance(space, Dict):
        return {
            name: environment_actions(part, policy_space[name], action[name], _part(bounded, name))
            for name, part in space.spaces.items()
        }
    if isinstance(space, Tuple):
        pairs = enumerate(zip(space.spaces, policy_space.spaces, action, strict=True))
        return tuple(environment_actions(*parts, _part(bounded, i)) for i, parts in pairs)
    if policy_space.shape != space.shape:
        batch = action.shape[: action.ndim - len(policy_space.shape)]
        action = action.reshape(*batch, *space.shape)
    if not isinstance(space, Box):
        return action.astype(space.dtype)
    low, high = (jnp.broadcast_to(end, action.shape) for end in (space.low, space.high))
    if bounded:
        action = low + 0.5 * (action + 1.0) * (high - low)
    return jnp.clip(action, low, high).astype(space.dtype)


def with_action_mask(observation: PyTree, mask: PyTree) -> dict[str, Any]:
    """Put a mask of allowed actions into an observation, where networks look for it.

    Args:
        observation: What is observed.
        mask: The mask, or masks of the parts of an action.
    """
    parts = dict(observation) if isinstance(observation, Mapping) else {"observation": observation}
    return {ACTION_MASK: mask} | parts


def show_action_masks(observation: PyTree, env_state: PyTree, reward: Array, *flags_and_info: Any) -> tuple:
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
    if ACTION_MASK in info:
        mask = jax.tree.map(lambda x: x.astype(bool), info[ACTION_MASK])
        observation = with_action_mask(observation, mask)
        if FINAL in info:
            # The final observation is only valued: which actions it allowed does not matter.
            info = info | {FINAL: with_action_mask(info[FINAL], jax.tree.map(jnp.ones_like, mask))}
    return observation, env_state, reward, *flags, info


def _part(bounded: Any, name: Any) -> Any:
    return bounded if isinstance(bounded, bool) else bounded[name]
