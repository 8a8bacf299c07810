"""Parameters of a batch of environments: the same for all, or a set for each (domain randomization)."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from memorax.core.types import PyTree


class BatchParams:
    """Parameters of a batch of copies of an environment.

    A parameter that has an axis of `num_envs` in front of the shape it has in `env.default_params` has a value for each
    environment; any other parameter is shared.

    Args:
        env: The environment; without `default_params`, all parameters are shared.
        env_params: The parameters; None for the default ones.
        num_envs: Number of environments.

    Raises:
        ValueError: The axis in front has another length, or the action space is not the same with all sets.

    Attributes:
        params: The parameters as they were given.
        first: Those of the first environment.
    """

    def __init__(self, env: Any, env_params: PyTree, num_envs: int) -> None:
        defaults = getattr(env, "default_params", None)
        self.params = defaults if env_params is None else env_params
        self.num_envs = num_envs
        self.axes = _axes(self.params, defaults, num_envs)
        self.first = self.of(0)
        if 0 in self.axes:
            self._check_action_space(env)

    def leaves(self, batch: int) -> list[Any]:
        """Give the parameters of so many environments, leaf by leaf; from the last set on they begin again."""
        leaves = jax.tree.leaves(self.params)
        if batch == self.num_envs:
            return leaves
        rows = np.arange(batch) % self.num_envs
        return [x if axis is None else jnp.asarray(x)[rows] for x, axis in zip(leaves, self.axes, strict=True)]

    def from_leaves(self, leaves: list[Any]) -> PyTree:
        """Put the parameters of one environment together again."""
        return jax.tree.unflatten(jax.tree.structure(self.params), leaves)

    def of(self, i: int) -> PyTree:
        """Give the parameters of one environment; from the last set on they begin again."""
        i, leaves = i % self.num_envs, jax.tree.leaves(self.params)
        return self.from_leaves([x if axis is None else x[i] for x, axis in zip(leaves, self.axes, strict=True)])

    def _check_action_space(self, env: Any) -> None:
        if any(isinstance(x, Tracer) for x in jax.tree.leaves(self.params)):
            return  # Only a concrete space can be compared.
        space = env.action_space(self.first)
        for i in range(1, self.num_envs):
            other = env.action_space(self.of(i))
            if other != space:
                raise ValueError(
                    f"`env_params` must give all environments the same action space, got {space!r} in the first and "
                    f"{other!r} in number {i}"
                )


def _axes(params: PyTree, defaults: PyTree, num_envs: int) -> list[int | None]:
    """Give 0 for every leaf that has a value for each environment, None for the others."""
    given = jax.tree.leaves_with_path(params)
    if jax.tree.structure(params) != jax.tree.structure(defaults):
        return [None] * len(given)
    axes: list[int | None] = []
    for (path, value), default in zip(given, jax.tree.leaves(defaults), strict=True):
        shape, one = np.shape(value), np.shape(default)
        has_axis = len(shape) == len(one) + 1 and shape[1:] == one
        if has_axis and shape[0] != num_envs:
            raise ValueError(
                f"`env_params{jax.tree_util.keystr(path)}` must have shape {one} to be shared, or "
                f"{(num_envs, *one)} for a value in each of `num_envs` ({num_envs}) environments, got {shape}"
            )
        axes.append(0 if has_axis else None)
    return axes
