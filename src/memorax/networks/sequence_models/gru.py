"""The gated recurrent unit."""

from typing import Any

import flax.linen as nn

from memorax.networks.sequence_models.parts.synonyms import torso
from memorax.networks.sequence_models.rnn import RNN


@torso(nn.GRUCell)
def GRU(features: int, **options: Any) -> RNN:  # noqa: N802 (reads as the class it stands for)
    """A gated recurrent unit as a torso.

    Args:
        features: Width of the memory and of the output; `hidden_dim` is a second name of it.
        **options: Further arguments of `flax.linen.GRUCell`.

    Returns:
        A sequence model.

    Raises:
        TypeError: If an argument is unknown or of another type.
        ValueError: If `features` is below 1, or both names are given with different values.

    Source:
        Cho et al. 2014, "Learning Phrase Representations using RNN Encoder-Decoder for Statistical Machine
        Translation", https://arxiv.org/abs/1406.1078; the reset gate acts after the recurrent product
    """
    return RNN(cell=nn.GRUCell(features=features, **options))
