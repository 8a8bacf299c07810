"""Auxiliary losses: what networks learn beside what the agent itself needs, behind one interface.

There are three kinds, and room for more:

* General value functions: a `heads.Horde` predicts sums of cumulants of one's own choice.
* `Reconstruction`: the torso's features must tell the current observation.
* Whatever a module sows: any Flax module in a network may call `self.sow("losses", name, loss)` with a loss that is
  already weighted, as `blocks.MoE` does to balance its experts. This is the way to write one of your own; skip it where
  `self.is_initializing()`.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from memorax.acting.vector_env import VectorEnv
from memorax.core.types import Array, Transition
from memorax.learning.gvf import (
    GVFTarget,
    check_gvfs,
    gvf_losses,
    gvf_targets,
    gvfs_of,
    refresh_gvf_targets,
    replayed_gvf_losses,
)
from memorax.learning.values import NStepTargets
from memorax.networks.heads import GVF


class AuxiliaryLosses(NamedTuple):
    """Auxiliary losses of a minibatch, each `[]`.

    Attributes:
        values: Losses of general value functions, which belong to the value loss and are weighted like it.
        sown: Losses that modules sowed, already weighted.
        metrics: All of them, by the names under which they are logged.
    """

    values: list[Array]
    sown: list[Array]
    metrics: dict[str, Array]

    def added_to(self, loss: Array) -> Array:
        """Add all of them to a loss."""
        return sum([*self.sown, *self.values], loss)


class Auxiliary:
    """The auxiliary losses of networks with a value head.

    Args:
        name: Name, in messages, of the network with the value head.
        head: Its head, a `Horde` or another one.
        output: Shapes and types of what the head gives.
        vector_env: The environments.

    Raises:
        TypeError: A general value function has a head of another kind than the main head.
        ValueError: A cumulant has another shape than a reward.
    """

    def __init__(self, name: str, head: Any, output: Any, vector_env: VectorEnv) -> None:
        check_gvfs(name, head, output, vector_env)
        self.head = head

    def targets(self, trajectory: Transition, values: Any, lam: float) -> dict[str, GVFTarget]:
        """Compute the targets of a rollout.

        Args:
            trajectory: Transitions, `[batch, time]`.
            values: What the head gave, as scalars, `[batch, time + 1]`.
            lam: Weight of longer returns, `[0, 1]`.

        Returns:
            A pytree of arrays `[batch, time]`, for `losses`.
        """
        return gvf_targets(self.head, trajectory, values, lam)

    def refresh(self, targets: Mapping[str, GVFTarget], values: Any, lam: float) -> dict[str, GVFTarget]:
        """Compute the targets again from newer values, `[batch, time + 1]`, which get no gradient."""
        return refresh_gvf_targets(targets, values, lam)

    def losses(
        self, output: Any, targets: Mapping[str, GVFTarget], weight: Array, sown: Mapping[str, Array]
    ) -> AuxiliaryLosses:
        """Compute the losses of a minibatch.

        Args:
            output: Values, `[batch, time]`.
            targets: As `targets` gives them.
            weight: Weight of each step, `[batch, time]`.
            sown: What modules sowed, by path, as `unroll_with_losses` gives it.
        """
        return _combine(gvf_losses(output, targets, weight), sown)

    def replayed_losses(
        self,
        batch: Transition,
        chosen: Any,
        following: Any,
        targets: Callable[..., NStepTargets],
        importance: Array,
        sown: Mapping[str, Array],
    ) -> AuxiliaryLosses:
        """Compute the losses of sequences from a replay buffer.

        Args:
            batch: Transitions, `[batch, time]`.
            chosen: Values of the actions taken, `[batch, time]`.
            following: Values of the successors of these steps, `[batch, time]`; they get no gradient.
            targets: Gives, for transitions and a discount, how returns bootstrap.
            importance: Importance sampling weight of each sequence, `[batch]`.
            sown: As for `losses`.
        """
        return _combine(replayed_gvf_losses(self.head, batch, chosen, following, targets, importance), sown)


def _combine(gvfs: dict[str, Array], sown: Mapping[str, Array]) -> AuxiliaryLosses:
    return AuxiliaryLosses(list(gvfs.values()), list(sown.values()), gvfs | sown_metrics(sown))


def sown_metrics(sown: Mapping[str, Array]) -> dict[str, Array]:
    """Sum the losses that were sowed under the same name, wherever in the networks that was."""
    metrics: dict[str, Array] = {}
    for path, loss in sown.items():
        name = [part for part in path.split("/") if not part.isdigit()][-1]
        metrics[name] = metrics[name] + loss if name in metrics else loss
    return metrics


def check_value_head(name: str, head: Any, *, gvfs: bool = True) -> None:
    """Refuse a head that values a given action only, a bare GVF, and where they are not learned also a `Horde`.

    Args:
        name: The network's name in messages.
        head: Its head.
        gvfs: Whether general value functions are learned.

    Raises:
        TypeError: It is one of these.
    """
    kind = type(head).__name__
    if isinstance(head, GVF):
        raise TypeError(
            f"`{name}` must have a head for the values that the agent itself needs, got GVF; wrap it in Horde, beside "
            f"a main head such as {type(head.head).__name__}"
        )
    if "action" in inspect.signature(type(head).__call__).parameters:
        raise TypeError(f"`{name}` must have a head that values states, or all actions at once, got {kind}")
    if not gvfs and gvfs_of(head):
        raise TypeError(
            f"`{name}` must have a head without general value functions, which this algorithm does not learn, got "
            f"{kind}; give its main head alone, {type(head.head).__name__}"
        )
