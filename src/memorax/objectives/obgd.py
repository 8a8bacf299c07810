"""Overshooting-bounded gradient descent: steps along eligibility traces that do not overshoot their target."""

import jax
import jax.numpy as jnp

from memorax.core.types import Array, PyTree


def obgd_step_size(trace: PyTree, error: Array, learning_rate: float, kappa: float) -> Array:
    """Say how far to move along `error * trace`.

    `min(learning_rate, 1 / (kappa max(|error|, 1) ||trace||_1))`, with the norm over all parameters together. Where the
    prediction is linear in the parameters, with slopes of at most 1, it then moves by at most `|error| / kappa`: with
    `kappa` of 1 or more it does not overshoot.

    Args:
        trace: Eligibility of the parameters.
        error: What is to be corrected, `[]`.
        learning_rate: Largest step size.
        kappa: How far below the bound to stay; larger is more careful.

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
    """Move parameters along the traces of several streams, each by its own error and with its own step size.

    Args:
        params: Parameters.
        traces: Their eligibility in every stream, `[streams, ...]`.
        errors: `[streams]`.
        learning_rate: Largest step size.
        kappa: How far below the bound to stay.

    Returns:
        The parameters, moved by the mean of what the streams ask for, and the step sizes, `[streams]`.
    """
    steps = jax.vmap(lambda trace, error: obgd_step_size(trace, error, learning_rate, kappa))(traces, errors)
    weights = steps * errors / errors.shape[0]
    return jax.tree.map(lambda x, z: x + jnp.tensordot(weights, z, 1), params, traces), steps
