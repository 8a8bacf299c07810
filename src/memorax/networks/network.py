"""Feature extractor, torso and head as one network."""

import dataclasses
import inspect
from typing import Any

import flax.linen as nn
import jax

from memorax.core.spaces import split_action_mask
from memorax.core.types import Array, Carry, Key, Timestep
from memorax.networks.flat_layers import flat_layers
from memorax.networks.pickling import Picklable
from memorax.networks.sequence_models.parts.base import is_sequence_model


class Network(Picklable, nn.Module):
    """`head(torso(feature_extractor(timestep)))`, with the memory of the torso carried from call to call.

    An observation that is a mapping with the key `"action_mask"` is split: the mask goes to the head if the head takes
    one, the rest to the feature extractor (as the value itself where one entry is left).

    Attributes:
        feature_extractor: Maps a `Timestep` to features `[batch, time, features]`.
        torso: A sequence model. Give the same object to actor and critic to make it their common trunk.
        head: Maps features to what the objective needs.
    """

    feature_extractor: nn.Module
    torso: nn.Module
    head: nn.Module

    def __post_init__(self) -> None:
        """Check the parts.

        Raises:
            TypeError: If a part is not a Flax module, or the torso is not a sequence model.
        """
        for name in ("feature_extractor", "torso", "head"):
            if not isinstance(getattr(self, name), nn.Module):
                raise TypeError(f"`{name}` must be a Flax Linen module, got {getattr(self, name)!r}")
        if not is_sequence_model(self.torso):
            raise TypeError(
                f"`torso` must be a sequence model, got {type(self.torso).__name__}; write `RNN(cell=...)` (or "
                "`Memoroid(cell=...)`, if it computes whole sequences) around a cell, `SequenceModelWrapper(...)` "
                "around a feed-forward module"
            )
        super().__post_init__()

    def __call__(self, timestep: Timestep, initial_carry: Carry = None, **head_kwargs: Any) -> tuple[Carry, Any]:
        """Run the network over a sequence of steps.

        Args:
            timestep: The agent's inputs, `[batch, time, ...]`, its action encoded (one-hot where discrete).
            initial_carry: The memory before the first step; None: that of an episode's start.
            **head_kwargs: Further arguments of the head, such as `action`.

        Returns:
            The memory after the last step, and the output of the head.
        """
        carry, features = self.embed(timestep, initial_carry)
        return carry, self.readout(features, timestep, **head_kwargs)

    def embed(self, timestep: Timestep, initial_carry: Carry = None) -> tuple[Carry, Array]:
        """Run feature extractor and torso only.

        Args:
            timestep: The agent's inputs, `[batch, time, ...]`.
            initial_carry: The memory before the first step; None: that of an episode's start.

        Returns:
            The memory after the last step, and the torso's outputs `[batch, time, features]`.
        """
        observation, _ = split_action_mask(timestep.observation)
        with flat_layers():
            features = self.feature_extractor(dataclasses.replace(timestep, observation=observation))
            return self.torso(features, timestep.done, initial_carry)

    def readout(self, features: Array, timestep: Timestep, **head_kwargs: Any) -> Any:
        """Run the head only.

        Args:
            features: The torso's outputs, `[batch, time, features]`.
            timestep: The agent's inputs, `[batch, time, ...]`: it may hold an action mask.
            **head_kwargs: Further arguments of the head, such as `action`.

        Returns:
            What the head gives.
        """
        _, mask = split_action_mask(timestep.observation)
        if mask is not None and "action_mask" in inspect.signature(type(self.head).__call__).parameters:
            head_kwargs = {"action_mask": mask, **head_kwargs}
        with flat_layers():
            return self.head(features, **head_kwargs)

    @nn.nowrap
    def input_shape(self, timestep: Timestep) -> tuple[int, int]:
        """Find the shape of the torso's inputs.

        Args:
            timestep: The agent's inputs, `[batch, time, ...]`; shapes and dtypes are enough.

        Returns:
            `(batch, features)`, with the features that the feature extractor gives.
        """

        def extract(timestep: Timestep) -> Array:
            observation, _ = split_action_mask(timestep.observation)
            timestep = dataclasses.replace(timestep, observation=observation)
            return self.feature_extractor.init_with_output(jax.random.key(0), timestep)[0]

        batch, _, features = jax.eval_shape(extract, timestep).shape
        return batch, features

    @nn.nowrap
    def initialize_carry(self, key: Key, input_shape: tuple[int, ...]) -> Carry:
        """Give the memory before an episode's first step.

        Args:
            key: A random key.
            input_shape: `(batch, features)`.

        Returns:
            The torso's initial carry.
        """
        return self.torso.initialize_carry(key, input_shape)
