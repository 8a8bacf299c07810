"""The axis of seeds of keys and states whose environments run in Python, which `jax.vmap` cannot give them."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer

from memorax.core.types import PyTree


def as_seeds(tree: PyTree, single: bool | None = None) -> tuple[PyTree, bool]:
    """Give a key, or a state, an axis of seeds where it has none."""
    leaf = jax.tree.leaves(tree)[0]
    if isinstance(leaf, Tracer):
        raise TypeError(
            "an agent whose environments run in Python must not be called inside `jax.jit`, `jax.vmap` or other "
            "transformations, got an abstract array; for several seeds, pass keys and state with an axis of seeds"
        )
    single = bool(leaf.ndim == 0 if single is None else single)
    return (_with_axis(tree) if single else tree), single


def as_given(tree: PyTree, single: bool) -> PyTree:
    """Take the axis away that `as_seeds` gave."""
    return _first(tree) if single else tree


@jax.jit
def _first(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda x: x[0], tree)


@jax.jit
def _with_axis(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda x: x[None], tree)


def copied(state: Any, single: bool) -> Any:
    """A copy with an axis of seeds, whose memory can be given up."""
    return jax.tree.map(jnp.copy, as_seeds(state, single)[0])
