"""The environments of all seeds of an agent, in groups that take turns."""

import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax
import numpy as np

from memorax.core.types import PyTree
from memorax.environments.host.batch import HostBatch, HostStep
from memorax.environments.host.environment import HostEnvironment, HostState
from memorax.environments.host.errors import HostEnvironmentError

_SEEDS = 2**31 - 1
"""Random seeds of environments are below this, which every library takes."""


class HostCopies:
    """Environments `[seeds, num_envs]`, in groups of columns; arrays of a group are `[seeds, num_envs / groups, ...]`.

    Args:
        env: The environment.
        seeds: Number of seeds of the agent.
        num_envs: Number of environments of each.
        groups: Number of groups.

    Raises:
        HostEnvironmentError: They cannot be made.
    """

    def __init__(self, env: HostEnvironment, seeds: int, num_envs: int, groups: int = 1) -> None:
        self.env, self.seeds, self.num_envs, self.groups = env, seeds, num_envs, groups
        self.columns = num_envs // groups
        self._session = np.zeros(seeds, np.uint32)
        self._times = [-1] * groups
        self._batches: list[HostBatch] = []
        self._threads = ThreadPoolExecutor(groups, "memorax-environments") if groups > 1 else None
        self._release = weakref.finalize(self, _release, self._batches, self._threads)
        try:
            for _ in range(groups):
                self._batches.append(self._guarded("could not be made", env.source.batch, seeds * self.columns))
        except BaseException:
            self.close()
            raise

    def reset(self, session: np.ndarray) -> list[tuple[PyTree, np.ndarray | None]]:
        """Start an episode in every environment.

        Args:
            session: A random number for each seed, uint32 `[seeds]`, from which the environments' seeds follow.

        Returns:
            Observations and action masks of each group.
        """
        self._session, self._times = np.asarray(session, np.uint32), [0] * self.groups
        numbers = np.stack([_env_seeds(int(one), self.num_envs) for one in self._session])
        started = []
        for group, batch in enumerate(self._batches):
            own = numbers[:, group * self.columns :][:, : self.columns]
            result = self._guarded("failed in `reset`", batch.reset, own.ravel().tolist())
            started.append(self._by_seed(result))
        return started

    def step(self, group: int, action: PyTree) -> "Future[HostStep] | HostStep":
        """Begin a step in every environment of a group.

        Args:
            group: Number of the group.
            action: Actions, `[seeds, columns, ...]`.

        Returns:
            What follows, or, where groups take turns, something to wait for with `wait`.
        """
        flat = jax.tree.map(lambda x: np.asarray(x).reshape(-1, *x.shape[2:]), action)
        self._times[group] += 1
        if self._threads is None:
            return self._step(group, flat)
        return self._threads.submit(self._step, group, flat)

    def _step(self, group: int, action: PyTree) -> HostStep:
        time = self._times[group]
        result = self._guarded(f"failed in step {time:,}", self._batches[group].step, action)
        self._check_masks(result)
        fields = vars(result) | {"final_observation": None}
        same = result.final_observation is result.observation
        made = HostStep(**self._by_seed(fields))
        final = made.observation if same else self._by_seed(result.final_observation)
        return HostStep(**(vars(made) | {"final_observation": final}))

    def _check_masks(self, result: HostStep) -> None:
        mask = result.action_mask
        if mask is not None and not mask.any(axis=-1).all():
            raise HostEnvironmentError(
                f"`action_mask` of {self.env.name} must allow an action, got one that allows none"
            )

    def are_at(self, state: HostState) -> bool:
        """Whether the environments are where a state of the agent, `[seeds, num_envs]`, left them."""
        session, time = np.asarray(state.session), np.asarray(state.time)
        here = len(set(self._times)) == 1 and self._times[0] >= 0
        return here and bool((session == self._session[:, None]).all() and (time == self._times[0]).all())

    def close(self) -> None:
        """Release all environments, and their processes."""
        self._times = [-1] * self.groups
        self._release()

    def _by_seed(self, tree: PyTree) -> PyTree:
        return jax.tree.map(lambda x: x.reshape(self.seeds, self.columns, *x.shape[1:]), tree)

    def _guarded(self, what: str, call: Callable[..., Any], argument: Any) -> Any:
        try:
            return call(argument)
        except HostEnvironmentError:
            raise
        except Exception as error:
            self._times = [-1] * self.groups
            text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            raise HostEnvironmentError(f"environment {self.env.name} {what} ({text})") from error


def wait(step: "Future[HostStep] | HostStep") -> HostStep:
    """Give the result of a step that was begun."""
    return step.result() if isinstance(step, Future) else step


def next_session(state: HostState) -> np.ndarray:
    """Draw the random numbers of a new beginning, for each seed, from where a state was: uint32 `[seeds]`."""
    pairs = zip(np.asarray(state.session)[:, 0].tolist(), np.asarray(state.time)[:, 0].tolist(), strict=True)
    return np.concatenate([np.random.SeedSequence(pair).generate_state(1) for pair in pairs])


def seeds_of_round(number: int, round_: int, num_envs: int) -> np.ndarray:
    """Give the random seeds of the environments in one round of an evaluation.

    Args:
        number: The random number that they all follow from.
        round_: Number of the round.
        num_envs: Number of environments.
    """
    session = np.random.SeedSequence((number, round_)).generate_state(1)
    return _env_seeds(int(session[0]), num_envs)


def _env_seeds(session: int, number: int) -> np.ndarray:
    return np.random.SeedSequence(session).generate_state(number) % np.uint32(_SEEDS)


def _release(batches: Sequence[HostBatch], threads: ThreadPoolExecutor | None) -> None:
    if threads is not None:
        threads.shutdown(wait=True, cancel_futures=True)
    for batch in batches:
        batch.close()
