"""Value rescaling: an invertible function that reduces the scale of large returns."""

import jax.numpy as jnp

from memorax.core.types import Array

_EPSILON = 1e-3


def rescale(x: Array) -> Array:
    """Rescale values: `h(x) = sign(x) (sqrt(|x| + 1) - 1) + 0.001 x`.

    Args:
        x: Values of any shape, in units of the return.

    Returns:
        Rescaled values, of the same shape.

    Source:
        Pohlen et al. 2018, "Observe and Look Further", https://arxiv.org/abs/1805.11593.
    """
    # As (|x| + 1)^(1/2) - 1 = |x| / ((|x| + 1)^(1/2) + 1), which keeps its digits near 0.
    return x / (jnp.sqrt(jnp.abs(x) + 1.0) + 1.0) + _EPSILON * x


def unscale(y: Array) -> Array:
    """Undo value rescaling: the inverse of `rescale`.

    Args:
        y: Rescaled values of any shape.

    Returns:
        Values in units of the return, of the same shape.

    Source:
        Pohlen et al. 2018, "Observe and Look Further", https://arxiv.org/abs/1805.11593.
    """
    # With x = w (w + 2), what is to be solved is quadratic in w; this form of its root divides by no small number.
    linear = 1.0 + 2.0 * _EPSILON
    w = 2.0 * jnp.abs(y) / (linear + jnp.sqrt(linear**2 + 4.0 * _EPSILON * jnp.abs(y)))
    return jnp.sign(y) * w * (w + 2.0)
