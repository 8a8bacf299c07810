"""Small layers without a state."""

from memorax.networks.layers.flatten import Flatten

__all__ = ["Flatten"]
