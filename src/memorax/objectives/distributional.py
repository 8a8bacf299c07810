"""Targets and losses for values that are learned by classification."""

import jax
import jax.numpy as jnp
from jax.scipy.special import erf

from memorax.core.types import Array

SMOOTHING = 0.75
"""Standard deviation of a blurred target in widths of a bin, as Farebrother et al. 2024 recommend."""


def project(returns: Array, probabilities: Array, atoms: Array) -> Array:
    """Move probability to the nearest atoms: each return's is shared by its two neighbors, so the mean is kept.

    Args:
        returns: Possible returns, `[..., returns]`; those beyond the atoms count as the outermost ones.
        probabilities: Their probabilities, `[..., returns]`.
        atoms: Where probability may be, rising evenly, `[atoms]`.

    Returns:
        Probabilities of the atoms, `[..., atoms]`.

    Source:
        Bellemare, Dabney and Munos 2017, https://arxiv.org/abs/1707.06887, equation 7.
    """
    width = atoms[1] - atoms[0]
    inside = jnp.clip(returns, atoms[0], atoms[-1])
    distance = jnp.abs(inside[..., None, :] - atoms[:, None]) / width
    return jnp.sum(jnp.clip(1.0 - distance, 0.0, 1.0) * probabilities[..., None, :], axis=-1)


def gaussian_histogram(target: Array, centers: Array) -> Array:
    """Blur a target over bins: the mass that a normal distribution around it has in each of them.

    The distribution is cut off at the outer ends and normalized there; a target beyond them counts as the end.

    Args:
        target: `[...]`.
        centers: Centers of the bins, rising evenly, `[bins]`.

    Returns:
        Probabilities of the bins, `[..., bins]`.

    Source:
        Farebrother et al. 2024, https://arxiv.org/abs/2403.03950; Imani and White 2018,
        https://arxiv.org/abs/1806.04613.
    """
    width = centers[1] - centers[0]
    edges = jnp.append(centers, centers[-1] + width) - 0.5 * width
    inside = jnp.clip(target, edges[0], edges[-1])
    cumulated = 0.5 * erf((edges - inside[..., None]) / (jnp.sqrt(2.0) * SMOOTHING * width))
    mass = cumulated[..., -1:] - cumulated[..., :1]
    return (cumulated[..., 1:] - cumulated[..., :-1]) / mass


def cross_entropy(logits: Array, probabilities: Array) -> Array:
    """Compute the cross entropy `-sum(p log q)`, in nats.

    Args:
        logits: Unnormalized log-probabilities of q, `[..., classes]`.
        probabilities: p, `[..., classes]`.

    Returns:
        `[...]`.
    """
    return -jnp.sum(probabilities * jax.nn.log_softmax(logits, axis=-1), axis=-1)
