"""Targets and losses for value functions that are learned by classification: C51 and HL-Gauss."""

import jax
import jax.numpy as jnp
from jax.scipy.special import erf

from memorax.core.broadcasting import with_rank
from memorax.core.types import Array

SMOOTHING = 0.75
"""Standard deviation of the Gaussian target in bin widths, as recommended by Farebrother et al. 2024."""


def project(returns: Array, probabilities: Array, atoms: Array) -> Array:
    """Project a distribution of returns onto fixed atoms, as in C51.

    The probability of each return is split between its two nearest atoms in proportion to its distance from them, which
    preserves the mean.

    Args:
        returns: Support of the distribution, `[..., returns]`; returns beyond the outermost atoms are clipped to them.
        probabilities: Probability of each return, `[..., returns]`.
        atoms: Evenly spaced, ascending atoms, `[atoms]`.

    Returns:
        Probability of each atom, `[..., atoms]`.

    Source:
        Bellemare, Dabney and Munos 2017, https://arxiv.org/abs/1707.06887, equation 7.
    """
    width = atoms[1] - atoms[0]
    inside = jnp.clip(returns, atoms[0], atoms[-1])
    distance = jnp.abs(inside[..., None, :] - with_rank(atoms[:, None], inside.ndim + 1)) / width
    return jnp.sum(jnp.clip(1.0 - distance, 0.0, 1.0) * probabilities[..., None, :], axis=-1)


def gaussian_histogram(target: Array, centers: Array) -> Array:
    """Turn a scalar target into a histogram: the mass of a normal distribution around it in each bin (HL-Gauss).

    The normal distribution is truncated to the range of the bins and renormalized; a target outside that range is
    clipped to it. Within three bins of an end the mean of the histogram is nearer to the middle than the target.

    Args:
        target: Scalar targets, `[...]`.
        centers: Evenly spaced, ascending centers of the bins, `[bins]`.

    Returns:
        Probability of each bin, `[..., bins]`.

    Source:
        Farebrother et al. 2024, https://arxiv.org/abs/2403.03950; Imani and White 2018,
        https://arxiv.org/abs/1806.04613.
    """
    width = centers[1] - centers[0]
    edges = jnp.append(centers, centers[-1] + width) - 0.5 * width
    inside = jnp.clip(target, edges[0], edges[-1])
    cumulated = 0.5 * erf((with_rank(edges, inside.ndim + 1) - inside[..., None]) / (jnp.sqrt(2.0) * SMOOTHING * width))
    mass = cumulated[..., -1:] - cumulated[..., :1]
    return (cumulated[..., 1:] - cumulated[..., :-1]) / mass


def cross_entropy(logits: Array, probabilities: Array) -> Array:
    """Compute the cross entropy `-sum(p log q)`, in nats.

    Args:
        logits: Unnormalized log-probabilities of the prediction q, `[..., classes]`.
        probabilities: Target distribution p, `[..., classes]`.

    Returns:
        One cross entropy for each distribution, `[...]`.
    """
    return -jnp.sum(probabilities * jax.nn.log_softmax(logits, axis=-1), axis=-1)
