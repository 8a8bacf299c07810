"""Feature extractors and heads that follow from the spaces of an environment."""

import math
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from memorax.core.spaces import Box, Dict, Discrete, MultiDiscrete, Tuple, encode, split_action_mask
from memorax.core.types import Array, PyTree
from memorax.networks import CNN, MLP, Entries, heads

_LARGE_IMAGE = 36
"""Pixels per side from which on the default kernels of the CNN fit."""


def observation_extractor(space: Any, features: int, hidden: Sequence[str] = ()) -> nn.Module:
    """Choose the module that maps observations to feature vectors.

    A vector is mapped by a dense layer, an image by a CNN (bytes scaled to [0, 1]), a discrete number by an embedding;
    of a Dict or Tuple each entry by its own, and their features are concatenated.

    Args:
        space: The observation space; an action mask in it is left out: it goes to the head.
        features: Width of the feature vectors, of each entry.
        hidden: Entries of a Dict that are not seen.

    Raises:
        ValueError: The observation does not hold a single number, or does not have the hidden entries beside others.
    """
    space, _ = split_action_mask(space)
    if hidden:
        names = list(space.spaces) if isinstance(space, Dict) else []
        if not set(hidden) < set(names):
            raise ValueError(
                f"`critic_only` must name some entries of the observation, but not all, got {' '.join(hidden)}; "
                f"{'there are ' + ', '.join(names) if names else f'it is {space!r}, which has no entries'}"
            )
    if _is_empty(space):
        raise ValueError(
            f"`env` must have observations of at least one number, got {space!r}; show a zero where there is nothing "
            "to see"
        )
    if isinstance(space, Dict | Tuple):
        parts = space.spaces.items() if isinstance(space, Dict) else enumerate(space.spaces)
        chosen = {
            name: None if name in hidden or _is_empty(part) else observation_extractor(part, features)
            for name, part in parts
        }
        return Entries(chosen if isinstance(space, Dict) else tuple(chosen.values()))
    if isinstance(space, Discrete):
        return nn.Embed(space.n, features)
    if isinstance(space, Box) and (len(space.shape) == 3 or (len(space.shape) == 2 and space.dtype == jnp.uint8)):
        small = CNN(features=(16, 32), kernel_sizes=(3, 3), strides=(2, 2), padding="SAME")
        image = [CNN() if min(space.shape[:2]) >= _LARGE_IMAGE else small, MLP((features,))]
        return nn.Sequential(image if len(space.shape) == 3 else [_add_channel, *image])
    if isinstance(space, Box) and len(space.shape) < 2:
        # Where there is no axis of features, the feature extractor adds one, but not to integers.
        bare = not space.shape and jnp.issubdtype(space.dtype, jnp.integer)
        return EncodedMLP(space, features) if bare else MLP((features,))
    return EncodedMLP(space, features)


class EncodedMLP(nn.Module):
    """Encodes observations of any space as one vector, and applies a dense layer.

    Attributes:
        space: The observation space.
        features: Width of the feature vectors.
    """

    space: Any
    features: int

    @nn.compact
    def __call__(self, observation: PyTree) -> Array:
        """Map observations `[batch, time, ...]` to `[batch, time, features]`."""
        return MLP((self.features,))(encode(self.space, observation))


def policy_head(space: Any, env: str) -> nn.Module:
    """Choose the policy head for an action space.

    Args:
        space: The action space.
        env: Name of the environment, for the message.

    Raises:
        TypeError: There is none for this space.
    """
    if isinstance(space, Discrete):
        return heads.Categorical(action_dim=space.n)
    if isinstance(space, MultiDiscrete):
        return heads.MultiCategorical(nvec=space.nvec)
    if isinstance(space, Box) and space.dtype.kind not in "biu" and math.prod(space.shape) > 0:
        return heads.Gaussian(action_dim=math.prod(space.shape))
    if isinstance(space, Dict):
        return heads.Hybrid({name: policy_head(part, env) for name, part in space.spaces.items()})
    if isinstance(space, Tuple):
        return heads.Hybrid(tuple(policy_head(part, env) for part in space.spaces))
    raise TypeError(
        "`env` must have actions in Discrete, MultiDiscrete, MultiBinary, a floating-point Box, or Dict and Tuple of "
        f"these for a policy head, got {space!r} of {env}; wrap the environment so that its actions are one of these"
    )


def value_head(space: Any, env: str) -> nn.Module:
    """Choose the Q-value head for an action space.

    Args:
        space: The action space.
        env: Name of the environment, for the message.

    Raises:
        TypeError: There is none for this space.
    """
    if isinstance(space, Discrete):
        return heads.DiscreteQNetwork(action_dim=space.n)
    if isinstance(space, MultiDiscrete):
        return heads.BranchingQNetwork(nvec=space.nvec)
    raise TypeError(
        f"`env` must have Discrete, MultiDiscrete or MultiBinary actions for a Q-network, got {space!r} of {env}; "
        "train it with another algorithm, such as ppo"
    )


def _is_empty(space: Any) -> bool:
    """Whether values of a space hold no number."""
    return all(x.size == 0 for x in jax.tree.leaves(jax.eval_shape(space.sample, jax.random.key(0))))


def _add_channel(image: Array) -> Array:
    return image[..., None]
