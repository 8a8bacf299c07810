"""Kimi Delta Attention: Gated DeltaNet with a decay for each dimension of the keys."""

import dataclasses

from memorax.core.types import Array
from memorax.networks.sequence_models.parts.cell import configured_by
from memorax.networks.sequence_models.parts.channel_delta import ChannelDeltaCell, ChannelDeltaConfig
from memorax.networks.sequence_models.parts.memoroid import Memoroid
from memorax.networks.sequence_models.parts.synonyms import torso_of


@dataclasses.dataclass(frozen=True)
class KDAConfig(ChannelDeltaConfig):
    """Hyper-parameters of Kimi Delta Attention."""


class KDACell(ChannelDeltaCell):
    """Kimi Delta Attention (KDA): the delta rule with a decay for each dimension of the keys.

    `[q, k, v] = silu(conv(W u))`, with `q` and `k` of length 1 and `q` divided by `sqrt(head_dim)`; for each head
    `S ← Diag(α_t) S_{t-1}`, `S_t = S + β_t k_t (v_t - Sᵀ k_t)ᵀ`, `o_t = S_tᵀ q_t`, with
    `α = exp(-A softplus(W_2 W_1 u + b))` and `β = σ(W_b u)`, or twice that with negative eigenvalues; then
    `y = W_out (w * rms(o) * σ(W_4 W_3 u + c))`, normalized in each head. `A` starts uniform in [1, 16], `softplus(b)`
    log-uniform in [0.001, 0.1]. The convolution has no bias.

    As in the authors' code, except that the inner widths are free, that one `eps` serves keys and norm, and that
    projections have Flax's initialization.

    Attributes:
        config: The hyper-parameters. The constructor takes them whole, or by field: see `KDAConfig`.

    Source:
        Kimi Team 2025, "Kimi Linear: An Expressive, Efficient Attention Architecture",
        https://arxiv.org/abs/2510.26692
    """

    config: KDAConfig = KDAConfig()

    @configured_by(KDAConfig)
    def __init__(self) -> None: ...

    def _gates(self, u: Array, key: Array, value: Array) -> tuple[Array, Array]:
        beta = self._gate("beta", u, 1)
        beta = 2 * beta if self.config.negative_eigenvalues else beta
        return beta * key, beta * value


KDA = torso_of(KDAConfig, KDACell, Memoroid, "Kimi Delta Attention")
