"""What a centralized critic sees: the observations of all agents; the actor sees its own only."""

import dataclasses
from collections.abc import Mapping
from typing import Any, cast

import flax.linen as nn
import jax.numpy as jnp

from memorax.core.spaces import Dict, Space, encode
from memorax.core.types import Array, PyTree, Timestep
from memorax.networks import Network


class ObservationPart(nn.Module):
    """A feature extractor that is given one entry of an observation that is a dictionary.

    Attributes:
        extractor: The feature extractor.
        part: Key of the entry.
    """

    extractor: nn.Module
    part: str

    def __call__(self, timestep: Timestep) -> Array:
        """Extract features `[batch, time, features]`."""
        return cast(Any, self.extractor)(dataclasses.replace(timestep, observation=timestep.observation[self.part]))


def restrict_to(network: Network, part: str) -> Network:
    """Show a network one entry of the observation only; anything but a Network is returned unchanged."""
    if not isinstance(network, Network):
        return network
    return network.clone(feature_extractor=ObservationPart(network.feature_extractor, part))


def joint_observation(space: Space, observation: PyTree, axis: int) -> dict[str, PyTree]:
    """Give each agent the observations of all agents beside its own.

    Args:
        space: The observation space of an agent.
        observation: Observations, each leaf with the agents along `axis`.
        axis: The agents' axis.

    Returns:
        `"own"`, the observation without its action mask; `"all"`, the encoded observations of all agents side by
        side, one's own first and then in the order of the agents, `[..., agents * features]`; and `"action_mask"`, if
        there is one.
    """
    if isinstance(space, Dict) and "action_mask" in space.spaces:
        rest = {name: part for name, part in space.spaces.items() if name != "action_mask"}
        space = next(iter(rest.values())) if len(rest) == 1 else Dict(rest)
    mask = {}
    if isinstance(observation, Mapping) and "action_mask" in observation:
        parts = dict(observation)
        mask = {"action_mask": parts.pop("action_mask")}
        observation = next(iter(parts.values())) if len(parts) == 1 else parts
    encoded = encode(space, observation)
    number = encoded.shape[axis]
    everyone = jnp.concatenate([jnp.roll(encoded, -i, axis=axis) for i in range(number)], axis=-1)
    return mask | {"own": observation, "all": everyone}
