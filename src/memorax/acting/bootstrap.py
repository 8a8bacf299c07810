"""The value of the final observations of truncated episodes."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap

from memorax.core.devices import by_rows
from memorax.core.types import Array, Carry, Timestep


@custom_vmap
def _any_of_all_seeds(flags: Array) -> Array:
    """Whether any flag is set, in any of the seeds it is mapped over: so a `cond` on it stays a `cond`."""
    return jnp.any(flags)


@_any_of_all_seeds.def_vmap
def _(axis_size: int, in_batched: list[bool], flags: Array) -> tuple[Array, bool]:
    del axis_size, in_batched
    return _any_of_all_seeds(jnp.any(flags, axis=0)), False


def bootstrap(value: Callable[[Carry, Timestep], Any], carry: Carry, final: Timestep, truncated: Array) -> Any:
    """Value the final observations of truncated episodes; zero elsewhere, and at no cost where none was truncated.

    Args:
        value: Values a timestep.
        carry: The memory of the truncated episode, `[batch, ...]`.
        final: Its final timestep, `[batch, ...]`.
        truncated: `[batch]`.

    Returns:
        `[batch]`, or a pytree of these, as `value` gives.
    """

    def of_rows(_: tuple[()], carry: Carry, final: Timestep, truncated: Array) -> Any:
        def final_value() -> Any:
            return jax.tree.map(lambda x: jnp.where(truncated, x, 0.0), value(carry, final))

        def zero() -> Any:
            return jax.tree.map(jnp.zeros_like, jax.eval_shape(final_value))

        return jax.lax.cond(_any_of_all_seeds(truncated), final_value, zero)

    # Each of several devices asks for its own rows, and need not wait for the others.
    return by_rows(of_rows, (), carry, final, truncated)
