"""Values that count the entropy of what is done, and how much of it there shall be."""

from collections.abc import Sequence
from functools import reduce

import jax.numpy as jnp

from memorax.core.types import Array
from memorax.objectives.statistics import weighted_mean


def soft_value(
    values: Sequence[Array], entropy: Array, temperature: Array, probabilities: Array | None = None
) -> Array:
    """Value a state by the least that several critics expect there, plus the entropy at its price.

    Args:
        values: By critic: values of one sampled action, `[batch, time]`, or of all actions, `[batch, time, actions]`.
        entropy: Of the policy, or an estimate of it from the sampled action, `[batch, time]`, nats.
        temperature: Price of entropy, in units of the return per nat, `[]`.
        probabilities: Of the actions, `[batch, time, actions]`; None where values are those of one sampled action.
            An action without probability adds nothing, whatever its value.

    Returns:
        `[batch, time]`.

    Source:
        Haarnoja et al. 2018, "Soft Actor-Critic", https://arxiv.org/abs/1801.01290, equation 3; for all actions at once
        Christodoulou 2019, "Soft Actor-Critic for Discrete Action Settings", https://arxiv.org/abs/1910.07207.
    """
    least = reduce(jnp.minimum, values)
    if probabilities is not None:
        least = jnp.sum(probabilities * jnp.where(probabilities > 0, least, 0.0), axis=-1)
    return least + temperature * entropy


def temperature_loss(temperature: Array, entropy: Array, target: Array, weight: Array) -> Array:
    """Compute what makes the price of entropy rise while there is less of it than there shall be, and fall otherwise.

    Args:
        temperature: The price, `[]`; the gradient is with respect to what it is made of.
        entropy: `[batch, time]`, nats.
        target: How much there shall be, `[]` or `[batch, time]`, nats.
        weight: `[batch, time]`.

    Source:
        Haarnoja et al. 2018, "Soft Actor-Critic Algorithms and Applications", https://arxiv.org/abs/1812.05905,
        equation 18.
    """
    return temperature * weighted_mean(entropy - target, weight)
