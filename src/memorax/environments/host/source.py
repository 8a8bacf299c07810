"""Where the environments of an agent come from: one environment made many times, or a whole vector environment."""

import abc
import copy
import functools
import warnings
from collections.abc import Callable
from typing import Any

from memorax.core.checks import boolean, check
from memorax.environments.host.batch import HostBatch, StackedBatch, VectorBatch
from memorax.environments.host.checks import check_single, check_vector
from memorax.environments.host.makers import (
    in_worker,
    keeping_last_observations,
    takes_render_mode,
    text_left_out,
    with_critic_state,
    without_text,
)
from memorax.environments.host.spaces import Translation


class Source(abc.ABC):
    """Makes batches of environments, all alike.

    Attributes:
        name: Name of the environments.
        observation: Translation of the observations of one environment.
        action: Translation of its actions.
        mask_size: Number of entries of the action mask in `info`; None where there is none.
        horizon: The longest possible episode in steps; None if not known.
        rows: Number of environments that only come together; 1 where each can be made alone.
        parallel: Whether a batch steps outside of Python's main thread, so that others can act meanwhile.
    """

    name: str
    observation: Translation
    action: Translation
    mask_size: int | None = None
    horizon: int | None = None
    rows: int = 1
    parallel: bool = False

    @abc.abstractmethod
    def batch(self, num_envs: int) -> HostBatch:
        """Make a batch of environments.

        Args:
            num_envs: How many, a multiple of `rows`.
        """

    def shown(self, render_mode: str) -> "Source | None":
        """Give the same environments, in this process, with a `render_mode` of Gymnasium; None if they have none such.

        Args:
            render_mode: `"rgb_array"` for `HostBatch.picture`, `"human"` for a window.
        """
        del render_mode
        return None


class SingleSource(Source):
    """Makes environments of Gymnasium one by one.

    Args:
        make: Makes one environment.
        name: Name of the environments; None for that of the first.
        processes: Whether each environment steps in a process of its own.
        critic_state: Name of an entry of `info` that becomes an entry of the observation; None adds none.

    Raises:
        TypeError: `processes` is not a boolean, a space has no counterpart, or the environment does not do what
            Gymnasium's environments do.
        ValueError: The same, or `info` has no such entry.
    """

    def __init__(
        self,
        make: Callable[[], Any],
        name: str | None = None,
        processes: bool = False,
        critic_state: str | None = None,
    ) -> None:
        self.parallel = check("processes", processes, boolean())
        self._given, self._critic_state = make, critic_state
        made = self._with_critic_state(make)
        first = made()
        spec = getattr(first, "spec", None)
        self._render_mode = getattr(first, "render_mode", None)
        self._render_modes = tuple((getattr(first, "metadata", None) or {}).get("render_modes") or ())
        self.name = name or getattr(spec, "id", None) or type(getattr(first, "unwrapped", first)).__name__
        self._make = keeping_last_observations(without_text(made, first))
        try:
            self.observation, self.action = _translations(self.name, text_left_out(first), first.action_space)
            self.mask_size = _mask_size(check_single(first, self.name))
        finally:
            first.close()
        self.horizon = getattr(spec, "max_episode_steps", None)

    def batch(self, num_envs: int) -> HostBatch:
        """Make a batch of environments, each in a process of its own if so configured."""
        from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

        makers, mode = [self._make] * num_envs, AutoresetMode.SAME_STEP
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about bounds and dtypes, said before
            if self.parallel:
                # A fork of a process in which JAX runs may hang.
                makers = [in_worker(make) for make in makers]
                vector = AsyncVectorEnv(makers, context="forkserver", autoreset_mode=mode)
            else:
                vector = SyncVectorEnv(makers, autoreset_mode=mode)
        return VectorBatch(vector, self.observation, self.action)

    def shown(self, render_mode: str) -> "SingleSource | None":
        """Give the same environments in this process, with a render mode."""
        shown = copy.copy(self)
        shown.parallel = False
        if self._render_mode == render_mode:
            return shown
        if render_mode not in self._render_modes or not takes_render_mode(self._given):
            return None
        shown._given, shown._render_mode = functools.partial(self._given, render_mode=render_mode), render_mode
        made = self._with_critic_state(shown._given)
        example = made()
        shown._make = keeping_last_observations(without_text(made, example))
        example.close()
        return shown

    def _with_critic_state(self, make: Callable[[], Any]) -> Callable[[], Any]:
        return make if self._critic_state is None else with_critic_state(make, self._critic_state)


class VectorSource(Source):
    """Vector environments of Gymnasium, which come with their number of environments.

    Args:
        make: Makes one; None where there is only `first`.
        first: The first one.
        name: Name of the environments; None for that of the class.
        batch_type: Class of the batches.

    Raises:
        TypeError: A space has no counterpart.
    """

    parallel = True

    def __init__(
        self,
        make: Callable[[], Any] | None,
        first: Any,
        name: str | None = None,
        batch_type: type[VectorBatch] = VectorBatch,
    ) -> None:
        self._make, self._first, self._batch_type = make, first, batch_type
        self.name = name or getattr(getattr(first, "spec", None), "id", None) or type(first).__name__
        self.rows = int(first.num_envs)
        spaces = first.single_observation_space, first.single_action_space
        self.observation, self.action = _translations(self.name, *spaces)
        if batch_type is VectorBatch:
            masks = check_vector(first, self.name).get("action_mask")
            self.mask_size = None if masks is None else len(masks[0])

    def batch(self, num_envs: int) -> HostBatch:
        """Make a batch, of several vector environments where more are asked for than one has."""
        batches = [self._one() for _ in range(num_envs // self.rows)]
        return batches[0] if len(batches) == 1 else StackedBatch(batches)

    def _one(self) -> HostBatch:
        vector, self._first = self._first, None
        if vector is None:
            if self._make is None:
                raise TypeError(
                    f"`env` must be a function that makes {self.name} to be used more than once (by several seeds, or "
                    "to evaluate while training), got a single vector environment; pass `lambda: ...`"
                )
            vector = self._make()
        return self._batch_type(vector, self.observation, self.action)


def _translations(name: str, observation: Any, action: Any) -> tuple[Translation, Translation]:
    made = []
    for what, space in (("observation", observation), ("action", action)):
        try:
            made.append(Translation(space))
        except (TypeError, ValueError) as error:
            raise TypeError(f"`{what}_space` of {name} must have a counterpart, got {space!r} ({error})") from error
    return made[0], made[1]


def _mask_size(info: dict[str, Any]) -> int | None:
    return len(info["action_mask"]) if "action_mask" in info else None
