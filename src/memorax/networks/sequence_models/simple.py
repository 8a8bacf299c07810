"""The simple recurrent network."""

from typing import Any

import flax.linen as nn

from memorax.networks.sequence_models.parts.synonyms import torso
from memorax.networks.sequence_models.rnn import RNN


@torso(nn.SimpleCell)
def SimpleRNN(features: int, **options: Any) -> RNN:  # noqa: N802 (reads as the class it stands for)
    """A simple (Elman) recurrent network as a torso.

    Args:
        features: Width of the memory and of the output; `hidden_dim` is a second name of it.
        **options: Further arguments of `flax.linen.SimpleCell`.

    Returns:
        A sequence model.

    Raises:
        TypeError: If an argument is unknown or of another type.
        ValueError: If `features` is below 1, or both names are given with different values.

    Source:
        Elman 1990, "Finding Structure in Time", https://doi.org/10.1207/s15516709cog1402_1
    """
    return RNN(cell=nn.SimpleCell(features=features, **options))
