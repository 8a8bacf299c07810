"""Gated DeltaNet-2: the delta rule with separate gates for what is erased and what is written."""

import dataclasses

from memorax.core.types import Array
from memorax.networks.sequence_models.parts.cell import configured_by
from memorax.networks.sequence_models.parts.channel_delta import ChannelDeltaCell, ChannelDeltaConfig
from memorax.networks.sequence_models.parts.memoroid import Memoroid
from memorax.networks.sequence_models.parts.synonyms import torso_of


@dataclasses.dataclass(frozen=True)
class GatedDeltaNet2Config(ChannelDeltaConfig):
    """Hyper-parameters of Gated DeltaNet-2."""


class GatedDeltaNet2Cell(ChannelDeltaCell):
    """Gated DeltaNet-2: the delta rule with decays, erasing and writing for each dimension.

    `[q, k, v] = silu(conv(W u))`, with `q` and `k` of length 1 and `q` divided by `sqrt(head_dim)`; for each head
    `S ← Diag(α_t) S_{t-1}`, `S_t = S + k_t (w_t * v_t - Sᵀ (b_t * k_t))ᵀ`, `o_t = S_tᵀ q_t`, with
    `α = exp(-A softplus(W_2 W_1 u + d))`, `b = σ(W_b u)`, or twice that with negative eigenvalues, and `w = σ(W_w u)`;
    then `y = W_out (s * rms(o) * σ(W_4 W_3 u + c))`, normalized in each head. `A` starts uniform in [1, 16],
    `softplus(d)` log-uniform in [0.001, 0.1]. With one `b = w` for a head it would be KDA.

    As in the authors' code, except that the inner widths are free, that one `eps` serves keys and norm, and that
    projections have Flax's initialization.

    Attributes:
        config: The hyper-parameters. The constructor takes them whole, or by field: see `GatedDeltaNet2Config`.

    Source:
        Hatamizadeh et al. 2026, "Gated DeltaNet-2: Decoupling Erase and Write in Linear Attention",
        https://arxiv.org/abs/2605.22791
    """

    config: GatedDeltaNet2Config = GatedDeltaNet2Config()

    @configured_by(GatedDeltaNet2Config)
    def __init__(self) -> None: ...

    def _gates(self, u: Array, key: Array, value: Array) -> tuple[Array, Array]:
        erase = self._gate("erase", u, self.config.head_dim)
        erase = 2 * erase if self.config.negative_eigenvalues else erase
        return erase * key, self._gate("write", u, self.config.value_dim) * value


GatedDeltaNet2 = torso_of(GatedDeltaNet2Config, GatedDeltaNet2Cell, Memoroid, "Gated DeltaNet-2")
