"""A dense layer without memory: the control of experiments with memory."""

import flax.linen as nn

from memorax.networks.mlp import MLP
from memorax.networks.sequence_models.parts.wrapper import SequenceModelWrapper


def memoryless_mlp(features: int = 64) -> nn.Module:
    """One dense layer without memory, as the control of experiments with memory.

    Args:
        features: Width of the output.

    Returns:
        A sequence model with the carry `()`.

    Source:
        None; the control of experiments with memory
    """
    return SequenceModelWrapper(MLP((features,)))
