"""DeltaProduct: several updates by the delta rule per time step."""

import dataclasses

from memorax.core.checks import boolean, check_fields, size
from memorax.networks.sequence_models.parts.cell import configured_by
from memorax.networks.sequence_models.parts.delta import DeltaCell, DeltaConfig
from memorax.networks.sequence_models.parts.memoroid import Memoroid
from memorax.networks.sequence_models.parts.synonyms import torso_of


@dataclasses.dataclass(frozen=True)
class DeltaProductConfig(DeltaConfig):
    """Hyper-parameters of DeltaProduct."""

    num_householder: int = 2
    """Number of updates by the delta rule per time step, each with its own key and value."""
    negative_eigenvalues: bool = True
    """Whether β is up to 2, so that the transition of a step is a product of reflections, such as a rotation."""
    forget: bool = True
    """Whether the memory decays, once per time step."""

    def __post_init__(self) -> None:
        """Check the fields.

        Raises:
            TypeError: If a size is not an integer.
            ValueError: If a field is out of range.
        """
        super().__post_init__()
        check_fields(self, num_householder=size(), negative_eigenvalues=boolean(), forget=boolean())


class DeltaProductCell(DeltaCell):
    """DeltaProduct: several (generalized) Householder updates of a matrix memory per time step.

    `[q, k_1 ... k_n, v_1 ... v_n] = silu(conv(W u))`, with `q` and each `k` of length 1 and `q` divided by
    `sqrt(head_dim)`; for each head `S ← α_t S_{t-1}`, once, then `S ← S + β_j k_j (v_j - Sᵀ k_j)ᵀ` for j from 1 to n,
    and `o_t = Sᵀ q_t`, with `α = exp(-A softplus(W_a u + b))` and `β_j = 2 σ(W_b u)`, or `σ(W_b u)` without negative
    eigenvalues; then `y = W_out (w * rms(o) * silu(W_g u))`, normalized in each head. The transition of a
    step is a product of up to n reflections, such as a rotation, where a single update by the delta rule only reflects.
    Initialized as Gated DeltaNet, see there for differences from the authors' code.

    Attributes:
        config: The hyper-parameters. The constructor takes them whole, or by field: see `DeltaProductConfig`.

    Source:
        Siems et al. 2025, "DeltaProduct: Improving State-Tracking in Linear RNNs via Householder Products",
        https://arxiv.org/abs/2502.10297
    """

    config: DeltaProductConfig = DeltaProductConfig()

    @configured_by(DeltaProductConfig)
    def __init__(self) -> None: ...

    @property
    def updates(self) -> int:
        """Updates per time step."""
        return self.config.num_householder

    @property
    def decays(self) -> bool:
        """Whether the memory decays, once per time step."""
        return self.config.forget


DeltaProduct = torso_of(DeltaProductConfig, DeltaProductCell, Memoroid, "DeltaProduct")
