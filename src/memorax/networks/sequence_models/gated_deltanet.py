"""Gated DeltaNet: a decaying matrix memory that replaces what a key stood for."""

import dataclasses
from typing import Any

from memorax.networks.sequence_models.parts.delta import DeltaCell, DeltaConfig
from memorax.networks.sequence_models.parts.memoroid import Memoroid


@dataclasses.dataclass(frozen=True)
class GatedDeltaNetConfig(DeltaConfig):
    """Sizes of Gated DeltaNet."""

    negative_eigenvalues: bool = False
    """Whether writing may overshoot (β up to 2), so that a value can change its sign: parity needs that."""


class GatedDeltaNetCell(DeltaCell):
    """The delta rule with a decay for each head.

    `[q, k, v] = silu(conv(W u))`, with `q` and `k` of length 1 and `q` divided by `sqrt(head_dim)`; for each head
    `S ← α_t S_{t-1}`, `S_t = S + β_t k_t (v_t - Sᵀ k_t)ᵀ`, `o_t = S_tᵀ q_t`, with
    `α = exp(-A softplus(W_a u + b))` and `β = σ(W_b u)`, or `2 σ(W_b u)` with negative eigenvalues; then
    `y = W_out (w * rms(o) * silu(W_g u))`, normalized in each head. `A` starts uniform in [0, 16], `softplus(b)`
    log-uniform in [0.001, 0.1]. The convolution has no bias.

    As in the authors' code; inner widths are free.

    Source:
        Yang et al. 2024, https://arxiv.org/abs/2412.06464; negative eigenvalues: Grazzi et al. 2024,
        https://arxiv.org/abs/2411.12537.
    """

    config: GatedDeltaNetConfig = GatedDeltaNetConfig()


def GatedDeltaNet(hidden_dim: int = 64, **options: Any) -> Memoroid:  # noqa: N802
    """Gated DeltaNet.

    Args:
        hidden_dim: Width of the output.
        **options: Further fields of `GatedDeltaNetConfig`.

    Returns:
        A sequence model.

    Source:
        Yang et al. 2024, https://arxiv.org/abs/2412.06464.
    """
    return Memoroid(cell=GatedDeltaNetCell(GatedDeltaNetConfig(features=hidden_dim, **options)))
