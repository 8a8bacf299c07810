"""The long short-term memory."""

from typing import Any

import flax.linen as nn

from memorax.networks.sequence_models.parts.synonyms import torso
from memorax.networks.sequence_models.rnn import RNN


@torso(nn.LSTMCell)
def LSTM(features: int, **options: Any) -> RNN:  # noqa: N802 (reads as the class it stands for)
    """A long short-term memory as a torso.

    Args:
        features: Width of the memory and of the output; `hidden_dim` is a second name of it.
        **options: Further arguments of `flax.linen.LSTMCell`.

    Returns:
        A sequence model.

    Raises:
        TypeError: If an argument is unknown or of another type.
        ValueError: If `features` is below 1, or both names are given with different values.

    Source:
        Hochreiter and Schmidhuber 1997, "Long Short-Term Memory", https://doi.org/10.1162/neco.1997.9.8.1735
        Gers, Schmidhuber and Cummins 2000, "Learning to Forget: Continual Prediction with LSTM",
        https://doi.org/10.1162/089976600300015015
    """
    return RNN(cell=nn.LSTMCell(features=features, **options))
