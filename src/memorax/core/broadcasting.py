"""Arrays of different rank side by side, without relying on JAX to promote ranks: users may turn that into an error."""

from typing import Any, TypeVar

import jax.numpy as jnp
import numpy as np

ArrayT = TypeVar("ArrayT", bound=Any)


def with_rank(x: ArrayT, ndim: int) -> ArrayT:
    """Give an array leading axes of size 1, as many as it lacks.

    Args:
        x: A NumPy array, which remains one, or a JAX array.
        ndim: The number of axes to have, at least those of `x`.

    Returns:
        `[1, ..., 1, *x.shape]`.
    """
    library: Any = np if isinstance(x, np.ndarray) else jnp
    return library.expand_dims(x, tuple(range(ndim - x.ndim)))
