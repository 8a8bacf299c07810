"""What a policy is given as numpy arrays, in the form that its agent was trained with."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from memorax.core.spaces import Box, Dict, Space, Tuple, plain
from memorax.core.types import PyTree


def as_batch(observation: PyTree, space: Space, example: PyTree, hidden: Sequence[str] = ()) -> tuple[PyTree, bool]:
    """Give the observations of a batch in the dtypes of an example, and whether there was just one.

    Args:
        observation: Of one environment, or of a batch.
        space: The observation space.
        example: Shapes and dtypes of what the agent sees, with a batch axis in front.
        hidden: Entries that may be missing: they are zero then.

    Raises:
        TypeError: An array is of another kind.
        ValueError: Structure or shapes do not fit.
    """
    observation = _with_hidden(observation, example, hidden)
    wanted, structure = jax.tree.flatten(example)
    given = [np.asarray(x) for x in _leaves(space, observation, structure)]
    pairs = list(zip(given, wanted, strict=True))
    single = all(x.shape == like.shape[1:] for x, like in pairs)
    sizes = {x.shape[:1] for x in given}
    if not single and (
        any(x.shape[1:] != like.shape[1:] or x.ndim != like.ndim for x, like in pairs)
        or len(sizes) > 1
        or (0,) in sizes
    ):
        shapes = ", ".join(str(x.shape) for x in given)
        raise ValueError(
            f"`observation` must be one of {space!r}, or a batch of them with one axis in front, got shape {shapes}"
        )
    arrays = [_convert(x, like.dtype) for x, like in pairs]
    return jax.tree.unflatten(structure, [x[None] for x in arrays] if single else arrays), single


def _with_hidden(observation: PyTree, example: PyTree, hidden: Sequence[str]) -> PyTree:
    """Put zeros where hidden entries are missing, as many as there are observations."""
    missing = [name for name in hidden if isinstance(observation, Mapping) and name not in observation]
    seen = [name for name in observation if name in example] if missing else []
    if not seen:
        return observation
    given, like = (np.asarray(jax.tree.leaves(x[seen[0]])[0]) for x in (observation, _zeros(example)))
    batch = given.shape[: given.ndim - like.ndim + 1]
    zeros = {name: jax.tree.map(lambda x: np.zeros((*batch, *x.shape[1:]), x.dtype), example[name]) for name in missing}
    return {**observation, **zeros}


def _zeros(example: PyTree) -> PyTree:
    return jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), example)


def _leaves(space: Space, observation: PyTree, structure: Any) -> list[Any]:
    """Flatten an observation as the agent's observations are."""
    if isinstance(observation, Mapping):
        observation = dict(observation)
    try:
        return structure.flatten_up_to(plain(space, observation))
    except (TypeError, ValueError) as error:
        raise ValueError(f"`observation` must be one of {space!r}, or a batch of them ({error})") from error


def mask_space(mask: PyTree) -> Space:
    """Give the space of a mask `[batch, ...]`, or of masks of the parts of an action."""
    if isinstance(mask, Mapping):
        return Dict({name: mask_space(part) for name, part in mask.items()})
    if isinstance(mask, tuple):
        return Tuple([mask_space(part) for part in mask])
    return Box(0, 1, mask.shape[1:], jnp.bool_)


def _convert(array: np.ndarray, dtype: Any) -> np.ndarray:
    whole = not np.issubdtype(dtype, np.floating)
    if array.dtype.kind not in "biuf" or (whole and array.dtype.kind == "f"):
        raise TypeError(f"`observation` must hold {np.dtype(dtype).name}, got {array.dtype.name}")
    return array.astype(dtype, copy=False)


def rows(name: str, value: Any, dtype: type, shape: tuple[int, ...], single: bool) -> np.ndarray:
    """Give a number for every environment, and every agent in it; fewer axes stand for all."""
    array = np.asarray(value, dtype)
    if array.ndim == 0 or array.shape == shape or (single and array.shape == shape[1:]):
        return np.broadcast_to(array, shape)
    if array.shape == shape[:1]:
        return np.broadcast_to(array[:, None], shape)
    raise ValueError(f"`{name}` must have shape {shape[1:] if single else shape}, got {array.shape}")
