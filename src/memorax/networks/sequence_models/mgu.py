"""The minimal gated unit."""

from typing import Any

import flax.linen as nn

from memorax.networks.sequence_models.parts.synonyms import torso
from memorax.networks.sequence_models.rnn import RNN


@torso(nn.MGUCell)
def MGU(features: int, **options: Any) -> RNN:  # noqa: N802 (reads as the class it stands for)
    """A minimal gated unit as a torso: a gated recurrent unit whose two gates are one.

    Args:
        features: Width of the memory and of the output; `hidden_dim` is a second name of it.
        **options: Further arguments of `flax.linen.MGUCell`.

    Returns:
        A sequence model.

    Raises:
        TypeError: If an argument is unknown or of another type.
        ValueError: If `features` is below 1, or both names are given with different values.

    Source:
        Zhou et al. 2016, "Minimal Gated Unit for Recurrent Neural Networks", https://arxiv.org/abs/1603.09420
    """
    return RNN(cell=nn.MGUCell(features=features, **options))
