"""ResetPool: compute expensive resets only for the environments whose episode ended, a few at a time."""

from typing import Any

from memorax.core import checks
from memorax.core.checks import check
from memorax.environments.environment import Environment, only_resets
from memorax.environments.wrappers.base import Wrapper


class ResetPool(Wrapper):
    """Draw the starts of new episodes from a pool that is filled on demand.

    Under `jax.vmap` a conditional computes both of its branches, so that a step would make a new episode for every
    environment only to throw nearly all of them away. Here the environments whose episode ended are gathered, and
    new episodes are made for `size` of them at a time until none is left: none at all in a step that ends no episode.

    Nothing else changes: the episodes are those of the environment alone, key by key, each with a start of its own.
    It pays where a reset costs much more than a step (procedurally generated worlds, physics).
    """

    def __init__(self, env: Any, size: int) -> None:
        """Wrap an environment.

        Args:
            env: An environment that has `reset_env` and `step_env`.
            size: How many resets are computed at once, at least 1. A few more than episodes end in a step on average.

        Raises:
            TypeError: If `size` is no integer, or the environment only shows a `step` that resets.
            ValueError: If `size` is below 1.
        """
        super().__init__(env)
        if not only_resets(self.env):
            raise TypeError(
                f"`env` of ResetPool must have a `step` that does nothing but reset, got {type(self.env).__name__}; "
                "put ResetPool inside of other wrappers"
            )
        self.size = check("size", size, checks.size())

    step = Environment.step

    @property
    def reset_pool(self) -> int | None:  # type: ignore[override]
        """How many resets are computed at once."""
        return self.size
