"""The gated recurrent unit."""

from typing import Any

import flax.linen as nn

from memorax.networks.sequence_models.parts.rnn import RNN


def GRU(hidden_dim: int = 64, **options: Any) -> RNN:  # noqa: N802 (reads as the class it stands for)
    """A gated recurrent unit.

    Args:
        hidden_dim: Width of the memory and of the output.
        **options: Further arguments of `flax.linen.GRUCell`.

    Returns:
        A sequence model.

    Source:
        Cho et al. 2014, https://arxiv.org/abs/1406.1078, with the reset gate behind the recurrent product.
    """
    return RNN(cell=nn.GRUCell(features=hidden_dim, **options))
