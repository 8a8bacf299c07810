"""Encoding of values of a space as float vectors."""

import math

import jax
import jax.numpy as jnp

from memorax.core.spaces.base import Space
from memorax.core.spaces.box import Box
from memorax.core.spaces.discrete import Discrete, MultiBinary, MultiDiscrete
from memorax.core.spaces.nested import Dict, Tuple
from memorax.core.types import Array, PyTree


def encode(space: Space, x: PyTree) -> Array:
    """Encode values of a space as float32 vectors.

    Args:
        space: The space.
        x: Values of it with any axes in front: `[..., *space.shape]`.

    Returns:
        `[..., features]`: for Discrete one-hot vectors of length `n`; for MultiDiscrete the one-hot vectors of the
        entries side by side; for Box and MultiBinary the values with their own axes flattened; for Tuple and Dict
        (sorted keys) the vectors of the parts side by side.

    Raises:
        TypeError: If `space` is not a space of `memorax.core.spaces`.
        ValueError: If the last axes of `x` are not those of the space.
    """
    if isinstance(space, Tuple):
        return jnp.concatenate([encode(part, value) for part, value in zip(space.spaces, x, strict=True)], axis=-1)
    if isinstance(space, Dict):
        return jnp.concatenate([encode(part, x[name]) for name, part in space.spaces.items()], axis=-1)
    if not isinstance(space, Discrete | MultiDiscrete | Box):
        raise TypeError(f"`space` must be a space, got {space!r}; convert it with `from_foreign`")
    value = jnp.asarray(x)
    axes = len(space.shape)
    if value.shape[value.ndim - axes :] != space.shape:
        raise ValueError(f"`x` must end in the axes of the space {space.shape}, got shape {value.shape}")
    if isinstance(space, Discrete):
        return jax.nn.one_hot(value, space.n, dtype=jnp.float32)
    flat = value.reshape(*value.shape[: value.ndim - axes], math.prod(space.shape))
    if isinstance(space, MultiDiscrete) and not isinstance(space, MultiBinary):
        parts = [jax.nn.one_hot(flat[..., i], n, dtype=jnp.float32) for i, n in enumerate(space.nvec)]
        return jnp.concatenate(parts, axis=-1)
    return flat.astype(jnp.float32)
