"""Overshooting-bounded gradient descent (ObGD): updates along eligibility traces with a bounded step size."""

import jax
import jax.numpy as jnp

from memorax.core.types import Array, PyTree


def obgd_step_size(trace: PyTree, error: Array, learning_rate: float, kappa: float) -> Array:
    """Compute the step size of ObGD for an update along `error * trace`.

    `min(learning_rate, 1 / (kappa max(|error|, 1) ||trace||_1))`, with the norm over all parameters together. A
    prediction that is linear in the parameters, with slopes of at most 1, then changes by at most `|error| / kappa`:
    with `kappa` of 1 or more it does not overshoot its target.

    Args:
        trace: Eligibility trace, a pytree like the parameters.
        error: TD error, `[]`.
        learning_rate: Largest step size.
        kappa: Scaling factor of the bound, positive; larger values give smaller steps.

    Returns:
        Step size, `[]`; `learning_rate` where the trace is zero.

    Source:
        Elsayed, Vasan and Mahmood 2024, "Streaming Deep Reinforcement Learning Finally Works",
        https://arxiv.org/abs/2410.14606.
    """
    norm = jnp.asarray(sum(jnp.sum(jnp.abs(z)) for z in jax.tree.leaves(trace)))
    bound = kappa * jnp.maximum(jnp.abs(error), 1.0) * norm
    # The minimum, written as a quotient: nothing is divided by a trace of zeros.
    return learning_rate / jnp.maximum(learning_rate * bound, 1.0)


def obgd(params: PyTree, traces: PyTree, errors: Array, *, learning_rate: float, kappa: float) -> tuple[PyTree, Array]:
    """Update parameters along the eligibility traces of several streams, each with its own TD error and step size.

    Args:
        params: Parameters.
        traces: Eligibility trace of each stream, like the parameters with a leading axis, `[streams, ...]`.
        errors: TD errors, `[streams]`.
        learning_rate: Largest step size.
        kappa: Scaling factor of the bound, positive; larger values give smaller steps.

    Returns:
        The parameters after the mean of the streams' updates, and the step sizes, `[streams]`.

    Source:
        Elsayed, Vasan and Mahmood 2024, "Streaming Deep Reinforcement Learning Finally Works",
        https://arxiv.org/abs/2410.14606, for a single stream.
    """
    steps = jax.vmap(lambda trace, error: obgd_step_size(trace, error, learning_rate, kappa))(traces, errors)
    weights = steps * errors / errors.shape[0]
    return jax.tree.map(lambda x, z: x + jnp.tensordot(weights, z, 1), params, traces), steps
