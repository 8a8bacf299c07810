"""DeltaProduct: several steps of the delta rule for each step of time."""

import dataclasses
from typing import Any

from memorax.core.checks import boolean, check_fields, size
from memorax.networks.sequence_models.parts.cell import configured_by
from memorax.networks.sequence_models.parts.delta import DeltaCell, DeltaConfig
from memorax.networks.sequence_models.parts.memoroid import Memoroid
from memorax.networks.sequence_models.parts.synonyms import torso


@dataclasses.dataclass(frozen=True)
class DeltaProductConfig(DeltaConfig):
    """Sizes of DeltaProduct."""

    num_householder: int = 2
    """Steps of the delta rule, each with a key and a value of its own, for one step of time."""
    negative_eigenvalues: bool = True
    """Whether writing may overshoot (β up to 2): a step of time is a product of reflections then, say a rotation."""
    forget: bool = True
    """Whether the memory decays, once for each step of time."""

    def __post_init__(self) -> None:
        """Check the fields.

        Raises:
            TypeError: If a size is not an integer.
            ValueError: If a field is out of range.
        """
        super().__post_init__()
        check_fields(self, num_householder=size(), negative_eigenvalues=boolean(), forget=boolean())


class DeltaProductCell(DeltaCell):
    """Several Householder-like updates of a matrix memory for each step of time.

    `[q, k_1 ... k_n, v_1 ... v_n] = silu(conv(W u))`, with `q` and each `k` of length 1 and `q` divided by
    `sqrt(head_dim)`; for each head `S ← α_t S_{t-1}`, once, then `S ← S + β_j k_j (v_j - Sᵀ k_j)ᵀ` for j from 1 to n,
    and `o_t = Sᵀ q_t`, with `α = exp(-A softplus(W_a u + b))` and `β_j = 2 σ(W_b u)`, or `σ(W_b u)` without negative
    eigenvalues; then `y = W_out (w * rms(o) * silu(W_g u))`, normalized in each head. A step's transition is a product
    of n reflections at most, a rotation among others, where a single delta rule only reflects. Initialized as Gated
    DeltaNet. The convolution has no bias.

    As in the authors' code; inner widths are free. The chunks of the kernel are of `n` times as many updates.

    Source:
        Siems et al. 2025, "DeltaProduct: Improving State-Tracking in Linear RNNs via Householder Products",
        https://arxiv.org/abs/2502.10297
    """

    config: DeltaProductConfig = DeltaProductConfig()

    @configured_by(DeltaProductConfig)
    def __init__(self) -> None: ...

    @property
    def updates(self) -> int:
        """Updates for each step of time."""
        return self.config.num_householder

    @property
    def decays(self) -> bool:
        """Whether the memory decays, once for each step of time."""
        return self.config.forget


@torso(DeltaProductConfig)
def DeltaProduct(features: int, **options: Any) -> Memoroid:  # noqa: N802 (reads as the class it stands for)
    """DeltaProduct as a torso.

    Args:
        features: Width of the output; `hidden_dim` is a second name of it.
        **options: Further fields of `DeltaProductConfig`.

    Returns:
        A sequence model.

    Raises:
        TypeError: If an argument is unknown or of another type.
        ValueError: If an argument is out of range.

    Source:
        Siems et al. 2025, "DeltaProduct: Improving State-Tracking in Linear RNNs via Householder Products",
        https://arxiv.org/abs/2502.10297
    """
    return Memoroid(cell=DeltaProductCell(DeltaProductConfig(features=features, **options)))
