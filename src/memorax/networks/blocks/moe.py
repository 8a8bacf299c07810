"""Mixture of experts."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from memorax.core.checks import check_fields, real, size
from memorax.core.types import Array
from memorax.networks.sequence_models.parts.base import is_sequence_model
from memorax.networks.sequence_models.parts.cell import wide


class MoE(nn.Module):
    """A mixture of experts: a router chooses a few of several feed-forward modules at every step.

    `p = softmax(W x)`; the outputs of the `top_k` experts with the largest `p` are summed, weighted by their `p`,
    which for more than one chosen expert are scaled to sum to 1. No step is dropped for lack of capacity: the
    output of a step depends on that step alone. All experts are computed, and those not chosen have no part in outputs
    and gradients; the cost is that of `num_experts` experts.

    Against routers that use only a few experts, a load-balancing loss: every call outside of `init` sows
    `balance_coefficient * num_experts * sum_e f_e P_e` into the collection `losses`, where `f_e` is the share of
    choices that fell on expert e and `P_e` its mean probability: 1 at perfect balance, `num_experts` at worst with one
    expert per step. Algorithms add what is in that collection to their loss.

    Attributes:
        expert: A feed-forward module, such as `FFN(hidden_dim=256)`; each expert has parameters of its own.
        num_experts: Number of experts.
        top_k: Number of experts chosen at each step.
        balance_coefficient: Weight of the load-balancing loss; 0 sows nothing.

    Example:
        >>> from memorax.networks.blocks import FFN
        >>> moe = MoE(FFN(hidden_dim=7), num_experts=4, top_k=2)
        >>> variables = moe.init(jax.random.key(0), jnp.ones((2, 5, 3)))
        >>> outputs, sown = moe.apply(variables, jnp.ones((2, 5, 3)), mutable="losses")
        >>> outputs.shape, sown["losses"]["balance"].shape
        ((2, 5, 3), ())

    Source:
        Shazeer et al. 2017, "Outrageously Large Neural Networks: The Sparsely-Gated Mixture-of-Experts Layer",
        https://arxiv.org/abs/1701.06538
        Fedus, Zoph and Shazeer 2021, "Switch Transformers: Scaling to Trillion Parameter Models with Simple and
        Efficient Sparsity", section 2.2, https://arxiv.org/abs/2101.03961, for the load-balancing loss
        Zoph et al. 2022, "ST-MoE: Designing Stable and Transferable Sparse Expert Models",
        https://arxiv.org/abs/2202.08906, for the loss with more than one choice
    """

    expert: Any
    num_experts: int = 4
    top_k: int = 2
    balance_coefficient: float = 0.01

    def __post_init__(self) -> None:
        """Check the experts.

        Raises:
            TypeError: If `expert` is not a feed-forward module, or a number no integer.
            ValueError: If a number is below 1, more are chosen than there are, or the coefficient is negative.
        """
        if not isinstance(self.expert, nn.Module) or is_sequence_model(self.expert):
            raise TypeError(f"`expert` must be a feed-forward module such as FFN(hidden_dim=256), got {self.expert!r}")
        check_fields(self, num_experts=size(), top_k=size())
        if self.top_k > self.num_experts:
            raise ValueError(f"`top_k` must be at most `num_experts` ({self.num_experts}), got {self.top_k}")
        check_fields(self, balance_coefficient=real(0))
        super().__post_init__()

    @nn.compact
    def __call__(self, inputs: Array) -> Array:
        """Route every step.

        Args:
            inputs: `[..., features]`.

        Returns:
            The weighted sum of the chosen experts' outputs, `[..., features]`.
        """
        router = nn.Dense(self.num_experts, use_bias=False, name="router")
        probability = nn.softmax(router(wide(inputs)))  # [..., experts]
        weight, chosen = jax.lax.top_k(probability, self.top_k)
        if self.top_k > 1:  # of one choice the weight must stay below 1, or the router would learn nothing from it
            weight = weight / jnp.sum(weight, axis=-1, keepdims=True)
        if self.balance_coefficient and not self.is_initializing():
            self._sow_balance(probability, chosen)
        every = nn.vmap(
            lambda expert, x: expert(x),
            variable_axes={"params": 0, "losses": 0},
            split_rngs={"params": True, nn.DenyList("params"): True},
            in_axes=None,  # pyright: ignore[reportArgumentType] (typed by its default)
            out_axes=-1,
            axis_size=self.num_experts,
        )(self.expert, inputs)  # [..., features, experts]
        # Gathered, not multiplied by zero: an expert that overflows where it was not chosen does no harm.
        outputs = jnp.take_along_axis(every, chosen[..., None, :], axis=-1)
        return jnp.sum(weight[..., None, :].astype(outputs.dtype) * outputs, axis=-1)

    def _sow_balance(self, probability: Array, chosen: Array) -> None:
        hits = jax.nn.one_hot(chosen, self.num_experts, dtype=probability.dtype)  # [..., top_k, experts]
        share = jnp.mean(hits, axis=range(hits.ndim - 1))
        mean = jnp.mean(probability, axis=range(probability.ndim - 1))
        loss = self.balance_coefficient * self.num_experts * jnp.sum(share * mean)
        zero = jnp.zeros((), loss.dtype)
        self.sow("losses", "balance", loss, reduce_fn=jnp.add, init_fn=lambda: zero)
