"""What `spool` returns beside a function's output."""

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp


class Logs(dict[str, jax.Array]):
    """The values that were logged, by name, and at which times they were.

    A dictionary of arrays `[*vmapped, time, ...]`, which JAX takes for a pytree. Where a branch of a `cond` does not
    log what another one does, the value is 0, and `present` is False there.

    Args:
        values: The values by name.
        present: See below.

    Attributes:
        present: Whether the value was logged, bool `[*vmapped, time]`, by the names that were not always logged.
    """

    def __init__(self, values: Mapping[str, jax.Array], present: Mapping[str, jax.Array]) -> None:
        super().__init__(values)
        self.present = dict(present)

    def mean(self, name: str) -> jax.Array:
        """Average a value over the times at which it was logged.

        Args:
            name: Its name.

        Returns:
            The mean, `[]`; 0 where it was never logged.
        """
        value = self[name]
        if name not in self.present:
            return jnp.mean(value)
        present = self.present[name]
        present = jnp.broadcast_to(present.reshape(*present.shape, *(1,) * (value.ndim - present.ndim)), value.shape)
        return jnp.sum(jnp.where(present, value, 0)) / jnp.maximum(jnp.sum(present), 1)


def _flatten_with_keys(logs: Logs) -> tuple[Iterator[tuple[Any, Any]], tuple[str, ...]]:
    names = tuple(sorted(logs))
    children = [(jax.tree_util.DictKey(name), logs[name]) for name in names]
    return iter([*children, (jax.tree_util.GetAttrKey("present"), logs.present)]), names


def _unflatten(names: tuple[str, ...], children: Any) -> Logs:
    *values, present = children
    logs = Logs.__new__(Logs)
    dict.__init__(logs, zip(names, values, strict=True))
    logs.present = present
    return logs


jax.tree_util.register_pytree_with_keys(Logs, _flatten_with_keys, _unflatten)
