"""An environment in Python, as agents are built with it."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jax.core import Tracer

from memorax.core.checks import boolean, check, integer, optional
from memorax.core.spaces import Space
from memorax.core.types import Array, Key, PyTree
from memorax.environments.environment import Environment, EnvParams, Step
from memorax.environments.host.source import Source


@struct.dataclass
class HostState:
    """Which episodes a state of an agent belongs to; the environments themselves are not part of it.

    Attributes:
        session: Random number drawn when the environments were started, uint32.
        time: Steps since then, uint32.
    """

    session: Array
    time: Array


class HostEnvironment(Environment[HostState, EnvParams]):
    """An environment in Python: it tells agents its spaces, and makes the batches of environments that they act in.

    `reset` and `step` have the right shapes, so that agents can be built, but no content: agents act in `source`.

    Args:
        source: Makes the environments.
        groups: Number of groups of environments that take turns: while one steps, the policy acts for the next. None:
            2 where environments step outside of Python's main thread, else 1. Divides the number of environments.
        overlap: Whether agents act while they learn: in each rollout but the first of a call with the parameters of
            one update before.

    Raises:
        TypeError: `groups` is not an integer, or `overlap` not a boolean.
        ValueError: `groups` is below 1.
    """

    def __init__(self, source: Source, groups: int | None = None, overlap: bool = False) -> None:
        self.source = source
        self.overlap = check("overlap", overlap, boolean())
        self.groups = check("groups", groups, optional(integer(1)))

    @property
    def name(self) -> str:
        """Name of the environment."""
        return self.source.name

    def reset(self, key: Key, params: EnvParams | None = None) -> tuple[PyTree, HostState]:
        """Give a first observation of zeros: only its shape means something.

        Raises:
            TypeError: It is called to play.
        """
        self._refuse_to_play(key)
        del params
        zero = jnp.zeros((), jnp.uint32)
        return self._observation(), HostState(zero, zero)

    def step(self, key: Key, state: HostState, action: PyTree, params: EnvParams | None = None) -> Step:
        """Give the six values of a step, all zero: only their shapes mean something.

        Raises:
            TypeError: It is called to play.
        """
        self._refuse_to_play(key)
        del action, params
        info: dict[str, Any] = {"final_observation": self._observation()}
        if self.source.mask_size is not None:
            info["action_mask"] = jnp.zeros(self.source.mask_size, bool)
        no = jnp.zeros((), bool)
        return self._observation(), state, jnp.zeros((), jnp.float32), no, no, info

    def _refuse_to_play(self, key: Key) -> None:
        if not isinstance(key, Tracer):
            raise TypeError(
                f"`reset` and `step` of {self.name} must not be called: it runs in Python, and agents act in it; "
                "`env.source.batch(num_envs)` makes environments to step by hand"
            )

    def _observation(self) -> PyTree:
        return jax.tree.map(jnp.asarray, self.source.observation.zeros(()))

    def action_space(self, params: EnvParams | None = None) -> Space:
        """The action space."""
        return self.source.action.space

    def observation_space(self, params: EnvParams | None = None) -> Space:
        """The observation space."""
        return self.source.observation.space

    def horizon(self, params: EnvParams | None = None) -> int | None:
        """The longest possible episode, in steps; None if it is not known."""
        return self.source.horizon

    def number_of_groups(self, num_envs: int) -> int:
        """Choose in how many groups so many environments take turns.

        Raises:
            ValueError: `groups` does not divide them, or they only come together.
        """
        rows = self.source.rows
        if rows > 1 and num_envs != rows:
            raise ValueError(f"`num_envs` must be {rows}, as many as {self.name} has, got {num_envs}")
        most = 1 if rows > 1 else num_envs
        if self.groups is None:
            return 2 if self.source.parallel and most % 2 == 0 else 1
        if most % self.groups:
            raise ValueError(f"`groups` ({self.groups}) must divide the {most} environments of {self.name}")
        return self.groups
