"""Batches of environments, stepped together, that reset in the step that ends an episode."""

import abc
import contextlib
import dataclasses
import multiprocessing.connection
import os
import signal
import time
import warnings
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from memorax.core.types import PyTree
from memorax.environments.host.spaces import Translation

_PATIENCE = 5.0
"""Seconds that processes have to end by themselves."""


@dataclasses.dataclass(frozen=True)
class HostStep:
    """What a batch of environments returns; NumPy arrays, `[num_envs, ...]`.

    Attributes:
        observation: After the step; where it ended an episode, the first of the next one.
        reward: float32.
        terminated: Whether the episode ended by the rules of the task.
        truncated: Whether it was cut from outside.
        final_observation: After the step, before any reset; `observation` itself where no episode ended.
        action_mask: Which actions `observation` allows; None where the environments do not say.
    """

    observation: PyTree
    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    final_observation: PyTree
    action_mask: np.ndarray | None = None


class HostBatch(abc.ABC):
    """Environments that are stepped together."""

    @abc.abstractmethod
    def reset(self, seeds: Sequence[int]) -> tuple[PyTree, np.ndarray | None]:
        """Start an episode in every environment.

        Args:
            seeds: A random seed for each.

        Returns:
            The first observations and the masks of allowed actions, None where there are none.
        """

    @abc.abstractmethod
    def step(self, action: PyTree) -> HostStep:
        """Take a step in every environment, and reset those whose episode ended."""

    @abc.abstractmethod
    def close(self) -> None:
        """Release everything, processes included; also after an error, and more than once."""

    def picture(self, row: int) -> np.ndarray | None:
        """Paint an environment as it is now, uint8 RGB `[height, width, 3]`; None where it does not do so."""
        del row
        return None


class VectorBatch(HostBatch):
    """The environments of a vector environment of Gymnasium, whatever its autoreset mode.

    Args:
        vector: The vector environment.
        observation: Translation of the observations.
        action: Translation of the actions.
    """

    def __init__(self, vector: Any, observation: Translation, action: Translation) -> None:
        self.vector, self.observation, self.action = vector, observation, action
        self._same_step = autoreset_mode(vector) == "SAME_STEP"
        self._failed = False

    def reset(self, seeds: Sequence[int]) -> tuple[PyTree, np.ndarray | None]:
        """Start an episode in every environment."""
        with self._watched():
            observation, info = self.vector.reset(seed=_seed(self.vector, [int(seed) for seed in seeds]))
        return self.observation.read(observation), _mask(info)

    def step(self, action: PyTree) -> HostStep:
        """Take a step in every environment."""
        with self._watched():
            observation, reward, terminated, truncated, info = self.vector.step(self.action.write(action))
            terminated, truncated = np.array(terminated, bool), np.array(truncated, bool)
            seen = final = self.observation.read(observation)
            ended = np.flatnonzero(terminated | truncated)
            if ended.size and self._same_step:
                final = with_rows(seen, ended, self._final_rows(info["final_obs"], ended))
            mask = _mask(info)
            if ended.size and not self._same_step:
                seen, info = self.reset_ended(ended, final)
                mask = mask if mask is None else with_rows(mask, ended, _mask(info)[ended])
        return HostStep(seen, np.array(reward, np.float32), terminated, truncated, final, mask)

    def reset_ended(self, ended: np.ndarray, final: PyTree) -> tuple[PyTree, dict[str, Any]]:
        """Reset environments whose episode ended, before they would do so in their next step.

        Args:
            ended: Their numbers.
            final: The observations of all before that.

        Returns:
            The observations of all after it, and what the environments add.
        """
        mask = np.zeros(self.vector.num_envs, bool)
        mask[ended] = True
        observation, info = self.vector.reset(options={"reset_mask": mask})
        fresh = self.observation.read(observation)
        return with_rows(final, ended, jax.tree.map(lambda x: x[ended], fresh)), info

    def picture(self, row: int) -> np.ndarray | None:
        """Paint an environment of this process, if its render mode is `"rgb_array"`."""
        envs = getattr(self.vector, "envs", None)
        if envs is None or envs[row].render_mode != "rgb_array":
            return None
        return np.asarray(envs[row].render())

    def _final_rows(self, final: Any, ended: np.ndarray) -> PyTree:
        if not isinstance(final, np.ndarray) or final.dtype != object:
            return jax.tree.map(lambda x: x[ended], self.observation.read(final))
        from gymnasium.vector.utils import concatenate, create_empty_array

        space = self.vector.single_observation_space
        rows = [final[i] for i in ended]
        return self.observation.read(concatenate(space, rows, create_empty_array(space, len(rows))))

    @contextlib.contextmanager
    def _watched(self) -> Any:
        """Say of an error that it came from a process that died."""
        try:
            yield
        except (EOFError, BrokenPipeError, ConnectionError) as error:
            self._failed = True
            processes = _processes(self.vector)
            multiprocessing.connection.wait([process.sentinel for process in processes], timeout=1.0)
            codes = [process.exitcode for process in processes if not process.is_alive()]
            text = f"process of an environment died, exit code {codes[0] if codes else 'unknown'}"
            raise ChildProcessError(text) from error
        except BaseException:
            self._failed = True
            raise

    def close(self) -> None:
        """Close the environments, and end their processes."""
        processes = _processes(self.vector)
        options: dict[str, Any] = {"timeout": _PATIENCE} if processes else {}
        if processes and self._failed:
            _end(processes, at_once=True)
            options = {"terminate": True}
        with warnings.catch_warnings(), contextlib.suppress(Exception):
            warnings.simplefilter("ignore")
            self.vector.close(**options)
        getattr(self.vector, "unwrapped", self.vector).closed = True  # or it would be tried again later
        _end(processes)


class StackedBatch(HostBatch):
    """Several batches as one.

    Args:
        batches: The batches, of equally many environments each.
    """

    def __init__(self, batches: Sequence[HostBatch]) -> None:
        self.batches = tuple(batches)

    def reset(self, seeds: Sequence[int]) -> tuple[PyTree, np.ndarray | None]:
        """Start an episode in every environment."""
        parts = np.split(np.asarray(seeds), len(self.batches))
        observations, masks = zip(
            *(b.reset(part.tolist()) for b, part in zip(self.batches, parts, strict=True)), strict=True
        )
        return _joined(observations), _joined(masks)

    def step(self, action: PyTree) -> HostStep:
        """Take a step in every environment."""
        number = len(self.batches)

        def part(i: int) -> PyTree:
            return jax.tree.map(lambda x: np.split(x, number)[i], action)

        steps = [batch.step(part(i)) for i, batch in enumerate(self.batches)]
        fields = {field.name: [getattr(step, field.name) for step in steps] for field in dataclasses.fields(HostStep)}
        return HostStep(**{name: _joined(values) for name, values in fields.items()})

    def close(self) -> None:
        """Close all."""
        for batch in self.batches:
            batch.close()


def autoreset_mode(vector: Any) -> str:
    """Say when a vector environment resets, by the name of Gymnasium's `AutoresetMode`."""
    mode = getattr(vector, "autoreset_mode", None) or (getattr(vector, "metadata", None) or {}).get("autoreset_mode")
    return getattr(mode, "name", "NEXT_STEP")


def _seed(vector: Any, seeds: list[int]) -> Any:
    """Give the seeds as a vector environment takes them; those of other kinds take one for all."""
    from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv

    inner = getattr(vector, "unwrapped", vector)
    if type(inner).__module__.startswith("ale_py"):
        return np.asarray(seeds)
    return seeds if isinstance(inner, AsyncVectorEnv | SyncVectorEnv) else seeds[0]


def _mask(info: dict[str, Any]) -> Any:
    return np.array(info["action_mask"], bool) if "action_mask" in info else None


def with_rows(tree: PyTree, rows: np.ndarray, values: PyTree) -> PyTree:
    """Replace rows of every array of a tree.

    Args:
        tree: Arrays `[num_envs, ...]`.
        rows: Numbers of the rows.
        values: Arrays `[len(rows), ...]`.
    """

    def change(x: np.ndarray, value: np.ndarray) -> np.ndarray:
        x = x.copy()
        x[rows] = value
        return x

    return jax.tree.map(change, tree, values)


def _joined(trees: Sequence[PyTree]) -> Any:
    return jax.tree.map(lambda *parts: np.concatenate(parts), *trees)


def _processes(vector: Any) -> list[Any]:
    return list(getattr(vector, "processes", None) or [])


def _end(processes: Sequence[Any], at_once: bool = False) -> None:
    """End processes that were started here, and what they started: let them end by themselves, or else by force."""
    for end in ([] if at_once else ["is_alive"]) + ["terminate", "kill"]:
        for process in processes:
            getattr(process, end)()
        until = time.monotonic() + _PATIENCE
        for process in processes:
            process.join(max(0.0, until - time.monotonic()))
        if not any(process.is_alive() for process in processes):
            break
    for process in processes:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)  # its group outlives it where it left something behind
