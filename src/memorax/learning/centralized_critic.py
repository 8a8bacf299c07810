"""What a centralized critic sees: the observations of all agents; the actor sees its own only."""

import dataclasses
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp

from memorax.core.spaces import Box, Dict, Space, encode, split_action_mask
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
    space, _ = split_action_mask(space)
    observation, mask = split_action_mask(observation)
    encoded = encode(space, observation)
    number = encoded.shape[axis]
    everyone = jnp.concatenate([jnp.roll(encoded, -i, axis=axis) for i in range(number)], axis=-1)
    return ({} if mask is None else {"action_mask": mask}) | {"own": observation, "all": everyone}


def joint_space(space: Space, num_agents: int) -> Dict:
    """Give the space of what `joint_observation` gives one of so many agents."""
    own, mask = split_action_mask(space)
    features = jax.eval_shape(lambda key: encode(own, own.sample(key)), jax.random.key(0)).size
    everyone = Box(-jnp.inf, jnp.inf, (num_agents * features,))
    return Dict(({} if mask is None else {"action_mask": mask}) | {"own": own, "all": everyone})
