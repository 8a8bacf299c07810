"""Policy heads for actions of several parts: of discrete ones, and of parts of different kinds."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.linen as nn
from flax.linen import initializers

from memorax.core import distributions
from memorax.core.checks import check_fields, sequence, size
from memorax.core.spaces import Dict, Tuple
from memorax.core.types import Array, PyTree
from memorax.networks.checks import check_mask, check_multi_discrete
from memorax.networks.heads.hidden import check_hidden, hidden_layers
from memorax.networks.heads.policy import small
from memorax.networks.heads.protocol import check_policy_head


class MultiCategorical(nn.Module):
    """A policy of independent categorical distributions, for actions of several discrete entries.

    Attributes:
        nvec: Number of choices of each entry; two each for flags (`MultiBinary`).
        kernel_init: Initializer of the kernel.
        bias_init: Initializer of the bias.
        hidden: Widths of hidden layers between torso and head, such as `(128,)`; none by default.
        activation: Activation function after each hidden layer.
    """

    nvec: Sequence[int]
    kernel_init: initializers.Initializer = small
    bias_init: initializers.Initializer = initializers.zeros_init()
    hidden: Sequence[int] = ()
    activation: Callable[[Array], Array] = nn.relu

    def __post_init__(self) -> None:
        """Check that `nvec` holds positive integers."""
        check_fields(self, nvec=sequence(size()))
        check_hidden(self)
        super().__post_init__()

    @nn.compact
    def __call__(self, features: Array, action_mask: Array | None = None) -> distributions.MultiCategorical:
        """Give the policy.

        Args:
            features: `[batch, time, features]`.
            action_mask: True where a choice is allowed, those of the entries side by side, `[batch, time, sum(nvec)]`;
                None allows all.

        Returns:
            A distribution over `[batch, time]`, events of `len(nvec)` integers.

        Raises:
            ValueError: If the mask is for another number of choices.
        """
        check_mask("MultiCategorical", action_mask, sum(self.nvec))
        features = hidden_layers(self, features)
        logits = nn.Dense(sum(self.nvec), kernel_init=self.kernel_init, bias_init=self.bias_init)(features)
        return distributions.MultiCategorical(logits, action_mask, tuple(self.nvec))

    @nn.nowrap
    def check_action_space(self, space: Any) -> None:
        """Raise where the head cannot serve an action space: a `MultiDiscrete` or `MultiBinary` one of its `nvec`."""
        check_multi_discrete("MultiCategorical", tuple(self.nvec), space)


class Hybrid(nn.Module):
    """A policy with a head for each part of an action, for action spaces that are a `Dict` or a `Tuple`.

    The parts are independent given the features. Discrete and continuous parts may be mixed and nested.

    Attributes:
        parts: Policy heads by key, or a sequence of them.

    Example:
        >>> head = Hybrid({"move": Categorical(action_dim=4), "force": Gaussian(action_dim=2)})
    """

    parts: Any

    def __post_init__(self) -> None:
        """Check the heads.

        Raises:
            TypeError: If `parts` is no mapping or sequence, or a part no policy head.
            ValueError: If there is no part.
        """
        if not isinstance(self.parts, Mapping | tuple | list):
            raise TypeError(f"`parts` must be a dictionary or a sequence of policy heads, got {self.parts!r}")
        if not self.parts:
            raise ValueError("`parts` must hold at least one policy head, got none")
        for name, head in self._named():
            check_policy_head(f"parts[{name!r}]", head)
        super().__post_init__()

    def __call__(self, features: Array, action_mask: PyTree = None) -> distributions.Joint:
        """Give the policy.

        Args:
            features: `[batch, time, features]`.
            action_mask: Masks of the parts that have one: a dictionary, or a tuple with None for a part that has none;
                None allows everything.

        Returns:
            A distribution over `[batch, time]` of actions that are nested as `parts` is.

        Raises:
            ValueError: If there are masks for parts that do not exist.
        """
        masks = self._masks(action_mask)
        parts = {name: _policy(head, features, masks.get(name)) for name, head in self._named()}
        return distributions.Joint(parts if isinstance(self.parts, Mapping) else tuple(parts.values()))

    def _masks(self, action_mask: PyTree) -> dict[Any, Any]:
        if action_mask is None:
            return {}
        names = [name for name, _ in self._named()]
        masks = dict(action_mask if isinstance(action_mask, Mapping) else enumerate(action_mask))
        if unknown := [name for name in masks if name not in names]:
            raise ValueError(f"`action_mask` of head `Hybrid` must be of its parts {names}, got one of {unknown[0]!r}")
        return masks

    @nn.nowrap
    def _named(self) -> list[tuple[Any, Any]]:
        return list(self.parts.items() if isinstance(self.parts, Mapping) else enumerate(self.parts))

    @nn.nowrap
    def check_action_space(self, space: Any) -> None:
        """Raise where the head cannot serve an action space: it needs a `Dict` or `Tuple` of what its parts serve."""
        kind = Dict if isinstance(self.parts, Mapping) else Tuple
        if not isinstance(space, kind):
            raise TypeError(f"head `Hybrid` of these parts needs a {kind.__name__} action space, got {space!r}")
        names = [name for name, _ in self._named()]
        spaces = dict(space.spaces if isinstance(space, Dict) else enumerate(space.spaces))
        if set(names) != set(spaces):
            raise ValueError(f"`parts` of head `Hybrid` must be {list(spaces)} for {space!r}, got {names}")
        for name, head in self._named():
            head.check_action_space(spaces[name])


def _policy(head: Any, features: Array, mask: PyTree) -> Any:
    if mask is None:
        return head(features)
    if "action_mask" not in inspect.signature(type(head).__call__).parameters:
        raise ValueError(f"`action_mask` must be of parts with discrete actions, got one of {type(head).__name__}")
    return head(features, action_mask=mask)
