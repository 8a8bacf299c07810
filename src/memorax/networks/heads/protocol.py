"""What a head must offer, for heads of your own."""

from typing import Any, ClassVar, Protocol, runtime_checkable

import flax.linen as nn

from memorax.core.types import Array, Key


class Distribution(Protocol):
    """What a policy head gives: a distribution over actions for each step, `[batch, time]`."""

    bounded: ClassVar[bool]
    """Whether actions lie in [-1, 1], to be scaled to the bounds of the action space."""

    def sample(self, key: Key) -> Array:
        """Draw actions, `[batch, time, ...]`."""
        ...

    def log_prob(self, action: Array) -> Array:
        """The log-probability (or log-density) of actions, `[batch, time]`."""
        ...

    def sample_and_log_prob(self, key: Key) -> tuple[Array, Array]:
        """Draw actions; return them and their log-probabilities."""
        ...

    def entropy(self) -> Array:
        """The entropy in nats, `[batch, time]`."""
        ...

    def mode(self) -> Array:
        """The most likely actions, `[batch, time, ...]`."""
        ...


@runtime_checkable
class PolicyHead(Protocol):
    """A head for a policy: a Flax Linen module with these methods, such as `Categorical` or `Gaussian`.

    If `__call__` has a parameter `action_mask`, it is given the mask of allowed actions `[batch, time, actions]` that
    observations may hold, else None.

    Example:
        >>> import flax.linen as nn
        >>> from memorax.core import distributions
        >>> from memorax.networks.heads import PolicyHead
        >>> class Greedier(nn.Module):
        ...     action_dim: int
        ...     @nn.compact
        ...     def __call__(self, features, action_mask=None):
        ...         return distributions.Categorical(2.0 * nn.Dense(self.action_dim)(features), action_mask)
        ...     @nn.nowrap
        ...     def check_action_space(self, space):
        ...         if getattr(space, "n", None) != self.action_dim:
        ...             raise ValueError(f"`action_dim` must fit {space!r}, got {self.action_dim}")
        >>> isinstance(Greedier(action_dim=4), PolicyHead)
        True
    """

    def __call__(self, features: Array) -> Distribution:
        """Give the policy for the torso's outputs `[batch, time, features]`."""
        ...

    def check_action_space(self, space: Any) -> None:
        """Raise TypeError or ValueError if the head cannot serve an action space; works unbound (`nn.nowrap`)."""
        ...


class ValueHead(Protocol):
    """A head for values: a Flax Linen module with this method, such as `VNetwork` or `DiscreteQNetwork`.

    It gives values of states, `[batch, time]`, or of all actions, `[batch, time, actions]`; as numbers, or as a
    `ValueDistribution` over as many axes. A head for the value of a given action has a further keyword `action`,
    `[batch, time, action]`. A parameter `action_mask` is treated as in `PolicyHead`. If the head has a method
    `check_action_space(space)`, it is called when an agent is built.
    """

    def __call__(self, features: Array) -> Any:
        """Give values for the torso's outputs `[batch, time, features]`."""
        ...


def check_policy_head(name: str, head: Any) -> None:
    """Require a head that has what `PolicyHead` lists.

    Args:
        name: The network it belongs to, for the message.
        head: What should be a policy head.

    Raises:
        TypeError: If it is no Flax Linen module, or lacks a method.
    """
    if not isinstance(head, nn.Module):
        raise TypeError(f"`{name}` must have a policy head, a Flax Linen module, got {head!r}")
    if not callable(getattr(head, "check_action_space", None)):
        raise TypeError(
            f"`{name}` must have a policy head, got {type(head).__name__} without a method "
            "`check_action_space(space)`; see `memorax.networks.heads.PolicyHead`"
        )
