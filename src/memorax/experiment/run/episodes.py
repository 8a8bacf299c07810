"""Whole episodes with the agent of a run: evaluation, while it trains and afterwards."""

import copy
import dataclasses
from collections.abc import Callable
from typing import Any, Protocol, Self

import jax
import numpy as np

from memorax import lox
from memorax.core.types import Key, PyTree
from memorax.experiment.config import RunConfig
from memorax.experiment.devices import Devices
from memorax.experiment.loggers.base import Row
from memorax.experiment.recipes import build_agent
from memorax.experiment.run.python_environments import in_python, traceable_init

MAX_STEPS = 100_000
"""Longer episodes are left out."""


@dataclasses.dataclass(frozen=True)
class Played:
    """Averages over the episodes of each seed, `[seeds]`; zero where none was completed.

    Attributes:
        episodes: How many were completed.
        returns: Mean return.
        lengths: Mean length.
    """

    episodes: np.ndarray
    returns: np.ndarray
    lengths: np.ndarray


def episode_player(
    agent: Any, episodes: int, max_steps: int, *, deterministic: bool = True, devices: Devices | None = None
) -> Callable[[Key, Any], Played]:
    """Make a function of keys `[seeds]` and the state of all seeds that plays whole episodes.

    Args:
        agent: The agent.
        episodes: Episodes of each seed.
        max_steps: Maximum number of steps of an episode.
        deterministic: Whether to act greedily, rather than as in training.
        devices: The devices of the state; None for one.
    """
    devices = devices or Devices()

    def one(key: Key, state: Any) -> dict[str, Any]:
        play = lox.spool(agent.evaluate)
        return play(key, state, num_steps=max_steps, num_episodes=episodes, deterministic=deterministic)[1]

    programs: dict[int, Callable[..., Any]] = {}
    """By number of seeds."""

    def compiled(*args: PyTree) -> Callable[..., Any]:
        if in_python(agent):
            return one
        return devices.compiled(jax.jit(devices.each_seed(one), out_shardings=devices.everywhere()), *args)

    def play(keys: Key, state: Any) -> Played:
        # Neither the environments nor the replay buffer of training are needed.
        args = devices.place(keys), dataclasses.replace(state, loop=None, buffer=None)
        seeds = keys.shape[0]
        if seeds not in programs:
            programs[seeds] = compiled(*args)
        logs = jax.device_get(programs[seeds](*args))
        ended = logs["returned_episode"].reshape(seeds, -1)
        count = ended.sum(axis=1)
        sums = [
            np.sum(logs[name].reshape(seeds, -1).astype(np.float64) * ended, axis=1)
            for name in ("returned_episode_returns", "returned_episode_lengths")
        ]
        return Played(count, *(total / np.maximum(count, 1) for total in sums))

    return play


class Evaluates(Protocol):
    """Evaluates a run while it trains."""

    def evaluate(self, state: PyTree, step: int) -> list[Row]:
        """Give the metrics `eval/...` of each seed."""
        ...

    def close(self) -> None:
        """Release environments that run in Python."""
        ...


class Evaluator:
    """Evaluates a run while it trains, with randomness of its own: training is the same without it.

    Args:
        config: The run; it has `eval_every`.
        agent: Its agent.
        keys: Keys of evaluation, `[seeds]`.
        devices: The devices of the run; None for one.

    Raises:
        TypeError: The environment that is evaluated in does not take its options.
        ValueError: It has other observations or actions than the one of training.
    """

    def __init__(self, config: RunConfig, agent: Any, keys: Key, devices: Devices | None = None) -> None:
        self._keys = keys
        options = (config.env_options if config.eval_env is None else {}) | config.eval_env_options
        other = dataclasses.replace(config, env=config.eval_env or config.env, env_options=options)
        if other != config:
            trained, agent = agent, build_agent(other)
            _check_same_networks(trained, agent, other)
        self._agent = agent
        self._players = {
            name: episode_player(agent, config.eval_episodes, MAX_STEPS, deterministic=not name, devices=devices)
            for name in ("", "sampled_")
        }

    def with_keys(self, keys: Key) -> Self:
        """Copy it for other keys, `[seeds]`, with the same programs."""
        other = copy.copy(self)
        other._keys = keys
        return other

    def close(self) -> None:
        """Release environments that run in Python."""
        getattr(self._agent, "close", lambda: None)()

    def evaluate(self, state: PyTree, step: int) -> list[Row]:
        """Evaluate all seeds.

        Args:
            state: Of all seeds, `[seeds, ...]`.
            step: Which names the randomness.

        Returns:
            The metrics `eval/...`, one row for each seed; without returns and lengths where no episode was completed.
        """
        found: list[Row] = [{} for _ in range(self._keys.shape[0])]
        for number, (name, play) in enumerate(self._players.items()):
            played = play(jax.vmap(lambda key, n=number: _key_of(key, step, n))(self._keys), state)
            for i, row in enumerate(found):
                row[f"eval/{name}episodes"] = int(played.episodes[i])
                if played.episodes[i]:
                    row[f"eval/{name}return"] = float(played.returns[i])
                    row[f"eval/{name}length"] = float(played.lengths[i])
        return found


def _key_of(key: Key, step: int, number: int) -> Key:
    for word in (step >> 32, step & 0xFFFFFFFF, number):
        key = jax.random.fold_in(key, word)
    return key


def _check_same_networks(trained: Any, other: Any, config: RunConfig) -> None:
    """Refuse an environment that other networks would be built for."""
    ours, theirs = (agent.vector_env.action_space for agent in (trained, other))
    shapes = [jax.eval_shape(traceable_init(agent), jax.random.key(0)).learner for agent in (trained, other)]
    described = [jax.tree.map(lambda x: (x.shape, x.dtype), tree) for tree in shapes]
    if ours != theirs or described[0] != described[1]:
        raise ValueError(
            f"`eval_env` must have the observations and actions of the environment of training, got {config.task()}"
        )
