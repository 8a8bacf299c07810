"""Maximum entropy reinforcement learning: soft values, and the loss of the entropy temperature."""

from collections.abc import Sequence
from functools import reduce

import jax.numpy as jnp

from memorax.core.types import Array
from memorax.objectives.statistics import weighted_mean


def soft_value(
    values: Sequence[Array], entropy: Array, temperature: Array, probabilities: Array | None = None
) -> Array:
    """Compute soft state values: the smallest of the critics' values plus temperature times entropy.

    Args:
        values: Values by critic: of one sampled action, `[batch, time]`, or of all actions, `[batch, time, actions]`.
        entropy: Entropy of the policy, or its estimate from the sampled action, `[batch, time]`, nats.
        temperature: Entropy temperature alpha, in units of the return per nat, `[]`.
        probabilities: Probabilities of the actions, over which their values are averaged, `[batch, time, actions]`;
            None if the values are those of one sampled action. An action of probability 0 adds nothing, whatever its
            value.

    Returns:
        Soft state values, `[batch, time]`.

    Source:
        Haarnoja et al. 2018, "Soft Actor-Critic", https://arxiv.org/abs/1801.01290, equation 3; for all actions at once
        Christodoulou 2019, "Soft Actor-Critic for Discrete Action Settings", https://arxiv.org/abs/1910.07207.
    """
    least = reduce(jnp.minimum, values)
    if probabilities is not None:
        least = jnp.sum(probabilities * jnp.where(probabilities > 0, least, 0.0), axis=-1)
    return least + temperature * entropy


def temperature_loss(temperature: Array, entropy: Array, target: Array, weight: Array) -> Array:
    """Compute the loss of SAC's entropy temperature, `temperature * mean(entropy - target)`.

    Descending it raises the temperature while the entropy is below its target, and lowers it otherwise.

    Args:
        temperature: Entropy temperature alpha, `[]`; the gradient flows through it.
        entropy: Entropy of the policy, `[batch, time]`, nats.
        target: Target entropy, `[]` or `[batch, time]`, nats.
        weight: Weight of each step, 0 for steps to leave out, `[batch, time]`.

    Returns:
        The loss, `[]`.

    Source:
        Haarnoja et al. 2018, "Soft Actor-Critic Algorithms and Applications", https://arxiv.org/abs/1812.05905,
        equation 18.
    """
    return temperature * weighted_mean(entropy - target, weight)
