"""Gated DeltaNet: a decaying matrix memory in which a write replaces the value of its key."""

import dataclasses

from memorax.core.checks import boolean, check_fields
from memorax.networks.sequence_models.parts.cell import configured_by
from memorax.networks.sequence_models.parts.delta import DeltaCell, DeltaConfig
from memorax.networks.sequence_models.parts.memoroid import Memoroid
from memorax.networks.sequence_models.parts.synonyms import torso_of


@dataclasses.dataclass(frozen=True)
class GatedDeltaNetConfig(DeltaConfig):
    """Hyper-parameters of Gated DeltaNet."""

    negative_eigenvalues: bool = False
    """Whether β is up to 2, which allows negative eigenvalues of the transition; tasks such as parity need them."""

    def __post_init__(self) -> None:
        """Check the fields.

        Raises:
            TypeError: If a field is of another type.
            ValueError: If a field is out of range.
        """
        super().__post_init__()
        check_fields(self, negative_eigenvalues=boolean())


class GatedDeltaNetCell(DeltaCell):
    """Gated DeltaNet: the delta rule with a decay for each head.

    `[q, k, v] = silu(conv(W u))`, with `q` and `k` of length 1 and `q` divided by `sqrt(head_dim)`; for each head
    `S ← α_t S_{t-1}`, `S_t = S + β_t k_t (v_t - Sᵀ k_t)ᵀ`, `o_t = S_tᵀ q_t`, with
    `α = exp(-A softplus(W_a u + b))` and `β = σ(W_b u)`, or `2 σ(W_b u)` with negative eigenvalues; then
    `y = W_out (w * rms(o) * silu(W_g u))`, normalized in each head. `A` starts uniform in [0, 16], `softplus(b)`
    log-uniform in [0.001, 0.1]. The convolution has no bias.

    As in the authors' code, except that the inner widths are free, and that projections have Flax's initialization.

    Attributes:
        config: The hyper-parameters. The constructor takes them whole, or by field: see `GatedDeltaNetConfig`.

    Source:
        Yang et al. 2024, "Gated Delta Networks: Improving Mamba2 with Delta Rule", https://arxiv.org/abs/2412.06464
        Grazzi et al. 2024, "Unlocking State-Tracking in Linear RNNs Through Negative Eigenvalues",
        https://arxiv.org/abs/2411.12537
    """

    config: GatedDeltaNetConfig = GatedDeltaNetConfig()

    @configured_by(GatedDeltaNetConfig)
    def __init__(self) -> None: ...


GatedDeltaNet = torso_of(GatedDeltaNetConfig, GatedDeltaNetCell, Memoroid, "Gated DeltaNet")
