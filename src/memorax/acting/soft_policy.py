"""What a policy would do, in the form that SAC learns from."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from memorax.core.distributions import Categorical
from memorax.core.types import Array, Key


@struct.dataclass
class Decision:
    """What a policy would do; differentiable in what made the policy.

    Attributes:
        action: One sampled action for each step, `[batch, time, dimensions]`; None where all are weighed.
        probabilities: Of all actions, `[batch, time, actions]`; None where one was sampled.
        entropy: Of the policy, or minus the log-probability of the sampled action, `[batch, time]`, nats.
        unit: What entropy is measured by, `[batch, time]`: the most there can be, or for continuous actions, which
            know no most, minus their dimensions.
    """

    action: Array | None
    probabilities: Array | None
    entropy: Array
    unit: Array


def decide(key: Key, distribution: Any) -> Decision:
    """Weigh all actions where they can be counted, else sample one for each step."""
    if isinstance(distribution, Categorical):
        probabilities, mask = distribution.probabilities, distribution.mask
        allowed = jnp.ones_like(probabilities) if mask is None else mask
        unit = jnp.log(jnp.maximum(jnp.sum(allowed, axis=-1), 1).astype(jnp.float32))
        return Decision(None, probabilities, distribution.entropy(), unit)
    action, log_prob = distribution.sample_and_log_prob(key)
    return Decision(action, None, -log_prob, jnp.full_like(log_prob, -action.shape[-1]))


def anything(key: Key, distribution: Any) -> Array:
    """Draw actions `[batch, time, ...]` of which all that are allowed are equally likely."""
    if isinstance(distribution, Categorical):
        return Categorical(jnp.zeros_like(distribution.logits), distribution.mask).sample(key)
    like = distribution.mode()
    return jax.random.uniform(key, like.shape, like.dtype, minval=-1.0, maxval=1.0)
