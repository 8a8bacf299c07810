"""Where the environments of an agent come from: one environment made many times, or a whole vector environment."""

import abc
import copy
import functools
import inspect
import warnings
from collections.abc import Callable
from typing import Any

from memorax.core.checks import boolean, check
from memorax.environments.host.batch import HostBatch, StackedBatch, VectorBatch
from memorax.environments.host.checks import check_single, check_vector
from memorax.environments.host.spaces import Translation, is_text


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

    Raises:
        TypeError: `processes` is not a boolean, a space has no counterpart, or the environment does not do what
            Gymnasium's environments do.
        ValueError: The same.
    """

    def __init__(self, make: Callable[[], Any], name: str | None = None, processes: bool = False) -> None:
        self.parallel = check("processes", processes, boolean())
        first = make()
        spec = getattr(first, "spec", None)
        self._given, self._render_mode = make, getattr(first, "render_mode", None)
        self._render_modes = tuple((getattr(first, "metadata", None) or {}).get("render_modes") or ())
        self.name = name or getattr(spec, "id", None) or type(getattr(first, "unwrapped", first)).__name__
        self._make = without_text(make, first)
        try:
            self.observation, self.action = _translations(self.name, _text_left_out(first), first.action_space)
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
                makers = [_in_worker(make) for make in makers]
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
        if render_mode not in self._render_modes or not _takes_render_mode(self._given):
            return None
        make = functools.partial(self._given, render_mode=render_mode)
        example = make()
        shown._given, shown._render_mode, shown._make = make, render_mode, without_text(make, example)
        example.close()
        return shown


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


def _takes_render_mode(make: Callable[[], Any]) -> bool:
    """Whether a function that makes environments, or that of which it is a partial call, takes their render mode."""
    import gymnasium

    function = make.func if isinstance(make, functools.partial) else make
    return function is gymnasium.make or "render_mode" in inspect.signature(function).parameters


def copies_of(env: Any) -> Callable[[], Any]:
    """Give a function that makes environments like one.

    Raises:
        TypeError: It can neither be copied nor made again.
    """
    try:
        copy.deepcopy(env).close()
    except Exception as error:
        if getattr(env, "spec", None) is None:
            raise TypeError(
                f"`env` must be a function that makes {type(env).__name__}, got an environment that cannot be copied "
                f"({type(error).__name__}: {error}); pass `lambda: ...`"
            ) from error
        import gymnasium

        return lambda spec=env.spec: gymnasium.make(spec)
    return lambda: copy.deepcopy(env)


def without_text(make: Callable[[], Any], example: Any) -> Callable[[], Any]:
    """Leave strings out of dictionary observations."""
    kept = _kept_keys(example.observation_space)
    if kept is None:
        return make

    # Defined here and not at the top, so that it is sent to processes by value, which then need not import memorax.
    def filtered() -> Any:
        from gymnasium.wrappers import FilterObservation

        return FilterObservation(make(), kept)

    return filtered


def _kept_keys(space: Any) -> list[str] | None:
    if not any(cls.__name__ == "Dict" for cls in type(space).__mro__) or not any(map(is_text, space.spaces.values())):
        return None
    return [name for name, part in space.spaces.items() if not is_text(part)]


def _text_left_out(env: Any) -> Any:
    kept = _kept_keys(env.observation_space)
    if kept is None:
        return env.observation_space
    return type(env.observation_space)({name: env.observation_space[name] for name in kept})


def _in_worker(make: Callable[[], Any]) -> Callable[[], Any]:
    # By value, too. An interrupt from the keyboard reaches all processes; the main one decides when they end.
    def start() -> Any:
        import multiprocessing
        import signal

        if multiprocessing.parent_process() is not None:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        return make()

    return start


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
