"""Horde: general value functions that are learned beside the agent's value function, as auxiliary tasks."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
from flax import struct

from memorax.core.checks import check_fields, real
from memorax.core.types import Array, Transition
from memorax.networks.heads.joint import Hybrid, MultiCategorical
from memorax.networks.heads.policy import Beta, Categorical, Gaussian, SquashedGaussian
from memorax.networks.heads.temperature import Alpha


@struct.dataclass
class HordeValues:
    """The output of a `Horde`.

    Attributes:
        main: The output of its main head.
        demons: The output of the head of each general value function, by name.
    """

    main: Any
    demons: dict[str, Any]


class GVF(nn.Module):
    """A general value function (GVF): it predicts the discounted sum of a cumulant other than the reward.

    It is `E[sum_k gamma^k c_{t+k}]` up to the end of the episode, under the policy that the algorithm evaluates.

    Attributes:
        head: A value head of the same kind as the main head: of states, or of all actions.
        gamma: Discount per step, `[0, 1]`.
        cumulant: A function of transitions `[batch, time, ...]` that gives the numbers or flags `[batch, time]` to
            sum. Transitions hold observation, action, reward, and how episodes ended.

    Source:
        Sutton et al. 2011, "Horde: A Scalable Real-time Architecture for Learning Knowledge from Unsupervised
        Sensorimotor Interaction", https://dl.acm.org/doi/10.5555/2031678.2031726
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
        check_fields(self, gamma=real(0, 1))
        if not callable(self.cumulant):
            raise TypeError(f"`cumulant` must be a function of transitions, got {self.cumulant!r}")
        super().__post_init__()

    def __call__(self, features: Array, action_mask: Array | None = None) -> Any:
        """Give what the head gives for features `[batch, time, features]`."""
        return _values(self.head, features, action_mask)


class Horde(nn.Module):
    """A value head with general value functions (the demons of the Horde) beside it, as auxiliary tasks.

    The losses of the demons are added to that of the critic and shape the features below. No action depends on their
    predictions. Demons of state values predict for the acting policy; demons of action values predict for the policy
    that is greedy in the main head's values.

    Attributes:
        head: The main value head, which the agent acts by and learns.
        demons: General value functions by name; the loss of each is logged as `losses/demon_NAME`.

    Source:
        Sutton et al. 2011, "Horde: A Scalable Real-time Architecture for Learning Knowledge from Unsupervised
        Sensorimotor Interaction", https://dl.acm.org/doi/10.5555/2031678.2031726
        Jaderberg et al. 2017, "Reinforcement Learning with Unsupervised Auxiliary Tasks",
        https://arxiv.org/abs/1611.05397
    """

    head: nn.Module
    demons: Mapping[str, GVF]

    def __post_init__(self) -> None:
        """Check the parts.

        Raises:
            TypeError: A head does not give values, or the demons are no mapping of names to GVFs.
            ValueError: `demons` is empty, or two heads are one object and would share parameters.
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
                got = type(demon).__name__ if isinstance(demon, nn.Module) else repr(demon)
                raise TypeError(f"`demons` must be GVFs, got {got} for `{name}`; write `GVF(head, ...)`")
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
            action_mask: True where an action is allowed, `[batch, time, actions]`; heads for state values ignore it.

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
    others = (Categorical, MultiCategorical, Hybrid, Gaussian, SquashedGaussian, Beta, Alpha, GVF, Horde)
    if not isinstance(head, nn.Module) or isinstance(head, others) or _takes(head, "action"):
        got = type(head).__name__ if isinstance(head, nn.Module) else repr(head)
        raise TypeError(
            f"`head` of {owner} must be a head for values of states or of all actions, such as VNetwork or "
            f"DiscreteQNetwork, got {got}"
        )
