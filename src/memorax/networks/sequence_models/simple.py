"""The simple recurrent network."""

from typing import Any

import flax.linen as nn

from memorax.networks.sequence_models.parts.rnn import RNN


def SimpleRNN(hidden_dim: int = 64, **options: Any) -> RNN:  # noqa: N802
    """A simple recurrent network.

    Args:
        hidden_dim: Width of the memory and of the output.
        **options: Further arguments of `flax.linen.SimpleCell`.

    Returns:
        A sequence model.

    Source:
        Elman 1990, https://doi.org/10.1207/s15516709cog1402_1.
    """
    return RNN(cell=nn.SimpleCell(features=hidden_dim, **options))
