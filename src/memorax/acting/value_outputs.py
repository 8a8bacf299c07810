"""Values as heads give them: numbers, distributions that are learned by classification, or several of these."""

import dataclasses
from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp

from memorax.core.types import Array
from memorax.networks.heads import C51Values, HLGaussValues, HordeValues, ValueDistribution
from memorax.objectives import (
    clipped_value_loss,
    cross_entropy,
    gaussian_histogram,
    n_step_returns,
    project,
    weighted_mean,
)

Values: TypeAlias = Array | ValueDistribution
"""What a head for values gives: `[batch, time]` or `[batch, time, actions]`."""
Answers: TypeAlias = Values | HordeValues
"""Values, and those of the demons where the head has any."""


def main(output: Any) -> Any:
    """Leave out what belongs to demons."""
    return output.main if isinstance(output, HordeValues) else output


def expected(output: Any) -> Array:
    """Give values as numbers, without those of demons."""
    output = main(output)
    return output.mean() if isinstance(output, ValueDistribution) else output


def numbers(output: Any) -> Any:
    """Give values as numbers, with those of demons where there are any."""
    return _each(expected, output)


def best(output: Answers) -> Any:
    """Give the value of the best action as a number, `[batch, time]`, and what demons predict of that action."""
    if isinstance(output, HordeValues):
        return numbers(choose(output, jnp.argmax(expected(output), axis=-1)))
    return jnp.max(expected(output), axis=-1)


def choose(output: Any, action: Array) -> Any:
    """Take the values of one action per step.

    Args:
        output: Values, `[batch, time, actions]`, with those of demons or without.
        action: `[batch, time]`.

    Returns:
        Values, `[batch, time]`, of the same kind.
    """

    def take(values: Values) -> Values:
        if isinstance(values, ValueDistribution):
            logits = jnp.take_along_axis(values.logits, action[..., None, None], axis=-2)[..., 0, :]
            return dataclasses.replace(values, logits=logits, mask=None)
        return jnp.take_along_axis(values, action[..., None], axis=-1)[..., 0]

    return _each(take, output)


def upto(output: Any, stop: int) -> Any:
    """Take the first steps of values, with those of demons or without."""

    def take(values: Values) -> Values:
        if isinstance(values, ValueDistribution):
            mask = None if values.mask is None else values.mask[:, :stop]
            return dataclasses.replace(values, logits=values.logits[:, :stop], mask=mask)
        return values[:, :stop]

    return _each(take, output)


def _each(function: Callable[[Any], Any], output: Any) -> Any:
    if isinstance(output, HordeValues):
        return HordeValues(function(output.main), {name: function(x) for name, x in output.demons.items()})
    return function(output)


def losses(output: Values, target: Array) -> Array:
    """Compute how far values are from targets: half the squared error, or the cross entropy of a histogram.

    Args:
        output: Values, `[batch, time]`; those of C51 have no loss towards a number.
        target: Numbers, `[batch, time]`.

    Returns:
        `[batch, time]`.
    """
    if isinstance(output, HLGaussValues):
        return cross_entropy(output.logits, gaussian_histogram(target, output.values))
    return 0.5 * jnp.square(expected(output) - target)


def critic_loss(value: Values, old_value: Array, target: Array, weight: Array, clip: float | None) -> Array:
    """Average the losses of a critic.

    Args:
        value: Values, `[batch, time]`.
        old_value: Numbers, the values while acting, `[batch, time]`.
        target: `[batch, time]`.
        weight: `[batch, time]`.
        clip: How far from the old value a number may move and still be rewarded; None, or a distribution: any.
    """
    if clip is None or isinstance(value, ValueDistribution):
        return weighted_mean(losses(value, target), weight)
    return clipped_value_loss(value, old_value, target, weight, clip)


@dataclasses.dataclass(frozen=True)
class NStep:
    """Returns of `n` rewards that bootstrap from values, as `n_step_returns` defines them.

    Attributes:
        reward: `[batch, time]`.
        discount: `[batch, time]`.
        cut: `[batch, time]`.
        n: Number of rewards.
        scale: Puts returns on the scale that values are learned on; None where that is the returns' own.
        unscale: Its inverse.
    """

    reward: Array
    discount: Array
    cut: Array
    n: int
    scale: Callable[[Array], Array] | None = None
    unscale: Callable[[Array], Array] | None = None

    def returns(self, values: Array) -> Array:
        """Give the returns `[batch, time, ...]` that bootstrap from values `[batch, time + 1, ...]`."""
        values = values if self.unscale is None else self.unscale(values)
        reward, discount, cut = (_like(x, values) for x in (self.reward, self.discount, self.cut))
        returns = n_step_returns(reward, discount, cut, values, self.n)
        return returns if self.scale is None else self.scale(returns)

    def sources(self, x: Array) -> Array:
        """Give what stands, in `x` `[batch, time + 1, ...]`, where these returns bootstrap from."""
        return n_step_returns(jnp.zeros(()), jnp.ones(()), _like(self.cut, x), x, self.n)


def temporal_differences(output: Values, following: Values, targets: NStep) -> tuple[Array, Array]:
    """Compute how far values are from returns that bootstrap from other values of the same kind.

    Distributions of returns are bootstrapped whole: each possible value gives a possible return, which is as probable
    as the value.

    Args:
        output: Values of what was done, `[batch, time]`.
        following: Values of what would be done, `[batch, time + 1]`; they get no gradient.
        targets: How returns bootstrap.

    Returns:
        Loss and error (target minus expected value) of every step, `[batch, time]`.
    """
    following = jax.lax.stop_gradient(following)
    if isinstance(output, C51Values) and isinstance(following, C51Values):
        returns = targets.returns(jnp.broadcast_to(output.values, following.logits.shape))
        probabilities = project(returns, targets.sources(following.probabilities), output.values)
        target = jnp.sum(probabilities * output.values, axis=-1)
        return cross_entropy(output.logits, probabilities), target - output.mean()
    target = targets.returns(expected(following))
    return losses(output, target), target - expected(output)


def _like(x: Array, other: Array) -> Array:
    """Give `[batch, time]` further axes of size 1, as many as `other` has."""
    return x.reshape(*x.shape, *(1,) * (other.ndim - 2))
