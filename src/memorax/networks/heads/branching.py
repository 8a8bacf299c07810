"""Action values of actions of several discrete entries: a branch for each entry."""

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from flax import struct
from flax.linen import initializers

from memorax.core.checks import check_fields, sequence, size
from memorax.core.types import Array
from memorax.networks.checks import check_mask, check_multi_discrete
from memorax.networks.heads.hidden import check_hidden, hidden_layers
from memorax.networks.heads.value import MASKED_VALUE, allowed_actions


@struct.dataclass
class BranchValues:
    """Action values by the branches of a network, of all choices or of those taken.

    Attributes:
        branches: The values of each entry of the action: of all its choices `[..., choices]`, or of one `[...]`.
    """

    branches: tuple[Array, ...]

    def mean(self) -> Array:
        """The value of the whole action, `[...]`: the mean over the branches, each of one choice."""
        return jnp.mean(jnp.stack(self.branches, axis=-1), axis=-1)


class BranchingQNetwork(nn.Module):
    """An action-value function of several discrete entries, with a branch of values for each entry, as in BDQ.

    The values of a branch are a common state value plus the branch's advantages minus their mean. The outputs grow with
    the sum of the numbers of choices, not with their product. The value of an action is the mean of its branches'.

    Attributes:
        nvec: Number of choices of each entry; two each for flags (`MultiBinary`).
        dueling: Whether there is a common state value; otherwise a branch's values are its own.
        kernel_init: Initializer of the kernels.
        bias_init: Initializer of the biases.
        hidden: Widths of hidden layers between torso and head, such as `(128,)`; none by default.
        activation: Activation function after each hidden layer.

    Source:
        Tavakoli, Pardo and Kormushev 2018, "Action Branching Architectures for Deep Reinforcement Learning",
        https://arxiv.org/abs/1711.08946
    """

    nvec: Sequence[int]
    dueling: bool = True
    kernel_init: initializers.Initializer = initializers.orthogonal(1.0)
    bias_init: initializers.Initializer = initializers.zeros_init()
    hidden: Sequence[int] = ()
    activation: Callable[[Array], Array] = nn.relu

    def __post_init__(self) -> None:
        """Check that `nvec` holds positive integers."""
        check_fields(self, nvec=sequence(size()))
        check_hidden(self)
        super().__post_init__()

    @nn.compact
    def __call__(self, features: Array, action_mask: Array | None = None) -> BranchValues:
        """Give the values of all choices of every entry.

        Args:
            features: `[batch, time, features]`.
            action_mask: True where a choice is allowed, those of the entries side by side, `[batch, time, sum(nvec)]`;
                None allows all.

        Returns:
            Values by branch, each `[batch, time, choices]`; -1e9 where a choice is masked and another is not.

        Raises:
            ValueError: If the mask is for another number of choices.
        """
        check_mask("BranchingQNetwork", action_mask, sum(self.nvec))
        features = hidden_layers(self, features)

        def layer(size: int, name: str) -> Array:
            return nn.Dense(size, kernel_init=self.kernel_init, bias_init=self.bias_init, name=name)(features)

        value = layer(1, "value") if self.dueling else None
        branches, start = [], 0
        for i, choices in enumerate(self.nvec):
            values = layer(choices, f"advantage_{i}")
            if value is not None:
                values = value + values - jnp.mean(values, axis=-1, keepdims=True)
            if action_mask is not None:
                allowed = allowed_actions(action_mask[..., start : start + choices])
                values = jnp.where(allowed, values, MASKED_VALUE)
            branches.append(values)
            start += choices
        return BranchValues(tuple(branches))

    @nn.nowrap
    def check_action_space(self, space: Any) -> None:
        """Raise where the head cannot serve an action space: a `MultiDiscrete` or `MultiBinary` one of its `nvec`."""
        check_multi_discrete("BranchingQNetwork", tuple(self.nvec), space)
