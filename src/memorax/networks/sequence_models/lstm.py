"""The long short-term memory."""

from typing import Any

import flax.linen as nn

from memorax.networks.sequence_models.parts.rnn import RNN


def LSTM(hidden_dim: int = 64, **options: Any) -> RNN:  # noqa: N802
    """A long short-term memory.

    Args:
        hidden_dim: Width of the memory and of the output.
        **options: Further arguments of `flax.linen.LSTMCell`.

    Returns:
        A sequence model.

    Source:
        Hochreiter and Schmidhuber 1997, https://doi.org/10.1162/neco.1997.9.8.1735; forget gate of Gers et al. 2000.
    """
    return RNN(cell=nn.LSTMCell(features=hidden_dim, **options))
