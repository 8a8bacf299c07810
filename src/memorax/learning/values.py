"""Values as heads give them: scalars, distributions that are learned by classification, or those of a Horde."""

import dataclasses
from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp

from memorax.core.broadcasting import with_rank
from memorax.core.types import Array
from memorax.networks.heads import BranchValues, C51Values, HLGaussValues, HordeValues, ValueDistribution
from memorax.objectives import (
    clipped_value_loss,
    cross_entropy,
    gaussian_histogram,
    n_step_returns,
    project,
    weighted_mean,
)

Values: TypeAlias = Array | ValueDistribution | BranchValues
"""What a value head gives: `[batch, time]` or `[batch, time, actions]`, or these of several branches."""
HeadValues: TypeAlias = Values | HordeValues
"""Values, and those of the general value functions where the head is a `Horde`."""


def main_values(output: Any) -> Any:
    """Give the values of the main head, without those of general value functions."""
    return output.main if isinstance(output, HordeValues) else output


def expected_values(output: Any) -> Array:
    """Give the values of the main head as scalars: the means of distributions, and of branches of chosen actions."""
    output = main_values(output)
    return output.mean() if isinstance(output, ValueDistribution | BranchValues) else output


def as_scalars(output: Any) -> Any:
    """Give values as scalars, with those of general value functions where there are any; branches stay apart."""
    return _map_heads(lambda values: values if isinstance(values, BranchValues) else expected_values(values), output)


def greedy_actions(output: HeadValues) -> Array:
    """Give the actions of the highest value, `[batch, time]`, or with branches `[batch, time, branches]`."""
    values = main_values(output)
    if isinstance(values, BranchValues):
        return jnp.stack([jnp.argmax(branch, axis=-1) for branch in values.branches], axis=-1)
    return jnp.argmax(expected_values(values), axis=-1)


def greedy_values(output: HeadValues) -> Any:
    """Give the value of the greedy action as a scalar, `[batch, time]`; of a `Horde` all values of that action."""
    if isinstance(output, HordeValues):
        return as_scalars(action_values(output, greedy_actions(output)))
    if isinstance(output, BranchValues):
        return BranchValues(tuple(jnp.max(branch, axis=-1) for branch in output.branches)).mean()
    return jnp.max(expected_values(output), axis=-1)


def action_values(output: Any, action: Array) -> Any:
    """Take the values of one action per step.

    Args:
        output: Values, `[batch, time, actions]`, with those of general value functions or without.
        action: `[batch, time]`; with branches `[batch, time, branches]`.

    Returns:
        Values, `[batch, time]`, of the same kind.
    """

    def take(values: Values) -> Values:
        if isinstance(values, BranchValues):
            pairs = enumerate(values.branches)
            taken = (jnp.take_along_axis(x, action[..., i, None], axis=-1)[..., 0] for i, x in pairs)
            return BranchValues(tuple(taken))
        if isinstance(values, ValueDistribution):
            logits = jnp.take_along_axis(values.logits, action[..., None, None], axis=-2)[..., 0, :]
            return dataclasses.replace(values, logits=logits, mask=None)
        return jnp.take_along_axis(values, action[..., None], axis=-1)[..., 0]

    return _map_heads(take, output)


def first_steps(output: Any, stop: int) -> Any:
    """Take the values of the first `stop` steps, with those of general value functions or without."""

    def take(values: Values) -> Values:
        if isinstance(values, ValueDistribution):
            mask = None if values.mask is None else values.mask[:, :stop]
            return dataclasses.replace(values, logits=values.logits[:, :stop], mask=mask)
        return jax.tree.map(lambda x: x[:, :stop], values)

    return _map_heads(take, output)


def _map_heads(function: Callable[[Any], Any], output: Any) -> Any:
    if isinstance(output, HordeValues):
        return HordeValues(function(output.main), {name: function(x) for name, x in output.demons.items()})
    return function(output)


def value_losses(output: Values, target: Array) -> Array:
    """Compute the loss of each value: half the squared error, or the cross entropy to a histogram of the target.

    All branches learn towards the same target; their losses are averaged.

    Args:
        output: Values, `[batch, time]`; those of C51 have no loss towards a scalar.
        target: Scalars, `[batch, time]`.

    Returns:
        `[batch, time]`.
    """
    if isinstance(output, HLGaussValues):
        return cross_entropy(output.logits, gaussian_histogram(target, output.values))
    if isinstance(output, BranchValues):
        return BranchValues(tuple(0.5 * jnp.square(branch - target) for branch in output.branches)).mean()
    return 0.5 * jnp.square(expected_values(output) - target)


def critic_loss(value: Values, old_value: Array, target: Array, weight: Array, clip: float | None) -> Array:
    """Average the losses of a critic.

    Args:
        value: Values, `[batch, time]`.
        old_value: Scalars, the values recorded while acting, `[batch, time]`.
        target: `[batch, time]`.
        weight: `[batch, time]`.
        clip: Clipping range of a scalar value around the old one; None does not clip, and distributions are not
            clipped.
    """
    if clip is None or isinstance(value, ValueDistribution):
        return weighted_mean(value_losses(value, target), weight)
    return clipped_value_loss(expected_values(value), old_value, target, weight, clip)


@dataclasses.dataclass(frozen=True)
class NStepTargets:
    """N-step returns that bootstrap from values, as `n_step_returns` defines them.

    Attributes:
        reward: `[batch, time]`.
        discount: `[batch, time]`.
        hidden: True where the successor is hidden (truncated), `[batch, time]`.
        n: Number of rewards.
        scale: Maps returns to the scale that values are learned on, such as R2D2's value rescaling; None: unscaled.
        unscale: Its inverse.
    """

    reward: Array
    discount: Array
    hidden: Array
    n: int
    scale: Callable[[Array], Array] | None = None
    unscale: Callable[[Array], Array] | None = None

    def returns(self, values: Array) -> Array:
        """Give the returns `[batch, time, ...]` that bootstrap from the values of the successors of the steps."""
        values = values if self.unscale is None else self.unscale(values)
        reward, discount, hidden = (_add_axes(x, values) for x in (self.reward, self.discount, self.hidden))
        returns = n_step_returns(reward, discount, hidden, _with_first(values), self.n)
        return returns if self.scale is None else self.scale(returns)

    def at_bootstrap(self, x: Array) -> Array:
        """Take from `x` of the successors, `[batch, time, ...]`, the steps that these returns bootstrap from."""
        return n_step_returns(jnp.zeros(()), jnp.ones(()), _add_axes(self.hidden, x), _with_first(x), self.n)


def temporal_differences(output: Values, following: Values, targets: NStepTargets) -> tuple[Array, Array]:
    """Compute losses and TD errors towards returns that bootstrap from values of the same kind.

    C51 distributions are bootstrapped whole: each atom gives a possible return, as probable as the atom, and is
    projected onto the atoms.

    Args:
        output: Values of the actions taken, `[batch, time]`.
        following: Values of the successors of these steps, `[batch, time]`; they get no gradient.
        targets: How returns bootstrap.

    Returns:
        Loss and TD error (target minus expected value; with branches the mean of the branches' absolute errors) of
        every step, `[batch, time]`.
    """
    following = jax.lax.stop_gradient(following)
    if isinstance(output, C51Values) and isinstance(following, C51Values):
        returns = targets.returns(jnp.broadcast_to(output.values, following.logits.shape))
        probabilities = project(returns, targets.at_bootstrap(following.probabilities), output.values)
        target = jnp.sum(probabilities * with_rank(output.values, probabilities.ndim), axis=-1)
        return cross_entropy(output.logits, probabilities), target - output.mean()
    target = targets.returns(expected_values(following))
    losses = value_losses(output, target)
    if isinstance(output, BranchValues):
        return losses, BranchValues(tuple(jnp.abs(target - branch) for branch in output.branches)).mean()
    return losses, target - expected_values(output)


def _with_first(values: Array) -> Array:
    """Put a first step in front of its successors; returns do not bootstrap from it, except where it has no loss."""
    return jnp.concatenate([values[:, :1], values], axis=1)


def _add_axes(x: Array, other: Array) -> Array:
    """Give `[batch, time]` further axes of size 1, as many as `other` has."""
    return x.reshape(*x.shape, *(1,) * (other.ndim - 2))
