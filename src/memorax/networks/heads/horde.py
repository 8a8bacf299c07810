"""A head with demons: predictions of one's own choice, learned beside what the agent itself needs."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import numpy as np
from flax import struct

from memorax.core.checks import between
from memorax.core.types import Array, Transition
from memorax.networks.heads.policy import Beta, Categorical, Gaussian, SquashedGaussian
from memorax.networks.heads.temperature import Alpha


@struct.dataclass
class HordeValues:
    """What a `Horde` gives.

    Attributes:
        main: What its main head gives.
        demons: What the head of each demon gives, by name.
    """

    main: Any
    demons: dict[str, Any]


class GVF(nn.Module):
    """A demon: a general value function, which predicts the discounted sum of something of its own.

    It answers `E[sum_k gamma^k c_{t+k}]` up to the end of the episode, for the policy that the algorithm evaluates.

    Attributes:
        head: A head for values, of the kind that the main head is of: of states, or of all actions.
        gamma: Discount per step, `[0, 1]`.
        cumulant: What is summed up: a function of transitions `[batch, time, ...]` that gives numbers or flags
            `[batch, time]`. It is shown observation, action, reward and how episodes ended.

    Source:
        Sutton et al. 2011, "Horde: A Scalable Real-time Architecture for Learning Knowledge from Unsupervised
        Sensorimotor Interaction".
    """

    head: nn.Module
    gamma: float
    cumulant: Callable[[Transition], Array]

    def __post_init__(self) -> None:
        """Check the parts.

        Raises:
            TypeError: The head does not give values, the discount is no number, or the cumulant no function.
            ValueError: The discount is out of range.
        """
        _check_head("GVF", self.head)
        if isinstance(self.gamma, bool) or not isinstance(self.gamma, int | float | np.number):
            raise TypeError(f"`gamma` must be a number, got {self.gamma!r}")
        between(self, "gamma", 0, 1)
        if not callable(self.cumulant):
            raise TypeError(f"`cumulant` must be a function of transitions, got {self.cumulant!r}")
        super().__post_init__()

    def __call__(self, features: Array, action_mask: Array | None = None) -> Any:
        """Give what the head gives for features `[batch, time, features]`."""
        return _values(self.head, features, action_mask)


class Horde(nn.Module):
    """A main head, which the agent acts and learns by, and demons, whose losses are added to that of the critic.

    Demons shape the features they stand on, and nothing else: no action depends on what they predict. On returns of
    states they predict what follows from the policy that acts, on values of actions what would follow from the best
    actions by the main head.

    Attributes:
        head: The main head, a head for values.
        demons: A `GVF` for every name; a name is what its loss is logged by, `losses/demon_NAME`.

    Source:
        Sutton et al. 2011, "Horde: A Scalable Real-time Architecture for Learning Knowledge from Unsupervised
        Sensorimotor Interaction"; as auxiliary tasks: Jaderberg et al. 2017, https://arxiv.org/abs/1611.05397.
    """

    head: nn.Module
    demons: Mapping[str, GVF]

    def __post_init__(self) -> None:
        """Check the parts.

        Raises:
            TypeError: A head does not give values, or the demons are no mapping of names to GVFs.
            ValueError: There are no demons, or two heads are one object and would have the same parameters.
        """
        _check_head("Horde", self.head)
        if not isinstance(self.demons, Mapping):
            raise TypeError(f"`demons` must be a dictionary of GVFs, got {self.demons!r}")
        if not self.demons:
            raise ValueError("`demons` must not be empty, got {}; use the main head alone")
        for name, demon in self.demons.items():
            if not isinstance(name, str) or not name:
                raise TypeError(f"`demons` must have names that are strings, not empty, got {name!r}")
            if not isinstance(demon, GVF):
                raise TypeError(f"demon `{name}` must be a GVF, got {type(demon).__name__}; write `GVF(head, ...)`")
        heads = [self.head, *(demon.head for demon in self.demons.values())]
        if len({id(head) for head in heads}) < len(heads):
            raise ValueError(
                "`demons` must have a head of their own each, got one object twice: one set of parameters "
                "cannot predict two things; build another"
            )
        super().__post_init__()

    def __call__(self, features: Array, action_mask: Array | None = None) -> HordeValues:
        """Give the values of all heads.

        Args:
            features: `[batch, time, features]`.
            action_mask: True where an action is allowed, `[batch, time, actions]`; heads of states have no use for it.

        Returns:
            What each head gives.
        """
        main = _values(self.head, features, action_mask)
        return HordeValues(main, {name: demon(features, action_mask) for name, demon in self.demons.items()})

    @nn.nowrap
    def check_action_space(self, space: Any) -> None:
        """Raise where one of the heads cannot serve an action space."""
        for head in (self.head, *(demon.head for demon in self.demons.values())):
            if hasattr(head, "check_action_space"):
                head.check_action_space(space)


def _takes(head: nn.Module, argument: str) -> bool:
    return argument in inspect.signature(type(head).__call__).parameters


def _values(head: Any, features: Array, action_mask: Array | None) -> Any:
    return head(features, action_mask=action_mask) if _takes(head, "action_mask") else head(features)


def _check_head(owner: str, head: Any) -> None:
    others = (Categorical, Gaussian, SquashedGaussian, Beta, Alpha, GVF, Horde)
    if not isinstance(head, nn.Module) or isinstance(head, others) or _takes(head, "action"):
        got = type(head).__name__ if isinstance(head, nn.Module) else repr(head)
        raise TypeError(
            f"`head` of {owner} must be a head for values of states or of all actions, such as VNetwork or "
            f"DiscreteQNetwork, got {got}"
        )
