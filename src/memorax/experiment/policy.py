"""A trained agent as a policy that takes and gives numpy arrays."""

import dataclasses
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from memorax.acting import Behavior, State
from memorax.core.checks import check, integer
from memorax.core.spaces import ACTION_MASK, Dict, Space, check_action_mask, split_action_mask
from memorax.core.types import Array, PyTree, Timestep
from memorax.experiment.config import RunConfig
from memorax.experiment.policy_inputs import as_batch, mask_space, rows
from memorax.experiment.policy_step import PolicyMemory, act, first_timestep, start_memory
from memorax.learning.q_function import QFunction
from memorax.learning.values import greedy_values, main_values

if TYPE_CHECKING:
    from memorax.experiment.export import Export

_MOST_SEEDS = 2**32 - 1


class TrainedPolicy:
    """A trained agent that acts in one environment or in a batch of them, with numpy arrays in and out.

    Everything is compiled once for each batch size.

    Args:
        agent: The agent.
        state: Its state after training, of a single seed.
        config: The run it comes from; None if it was not trained by one.

    Attributes:
        agent: The agent.
        state: Its state, of the one seed.
        config: The configuration of the run.
        env: The environment that it was trained in.
        env_params: The environment's parameters.
        action_space: Space of the actions.
        observation_space: Space of the observations of one environment; with an `"action_mask"` where the environment
            gives one in its `info`.

    Example:
        >>> policy = memorax.load("runs/first")
        >>> action, memory = policy.predict(observation)
        >>> action, memory = policy.predict(observation, memory, reward=reward, episode_start=done)
    """

    def __init__(self, agent: Any, state: State, config: RunConfig | None = None) -> None:
        self.agent, self.state, self.config = agent, state, config
        self.env, self.env_params = agent.vector_env.env, agent.vector_env.env_params
        self.action_space: Space = agent.vector_env.action_space
        self._first = first_timestep(agent, 1)
        self.observation_space: Space = self._observation_space()
        # Neither the environments nor the replay buffer of training are needed to act.
        self._learned = dataclasses.replace(state, loop=None, buffer=None)
        self._start = jax.jit(partial(start_memory, agent), static_argnames="batch")
        self._act = jax.jit(self._step, static_argnames="behavior")
        self._value = jax.jit(self._estimate)
        self._unseeded = 0

    def initial_memory(self, batch: int = 1, seed: int = 0) -> PolicyMemory:
        """Make the memory before the first step of an episode.

        Args:
            batch: Number of environments.
            seed: Random seed of sampled actions, `[0, 2**32)`.

        Raises:
            TypeError: `batch` or `seed` is not an integer.
            ValueError: `batch` is below 1, or `seed` out of range.
        """
        batch = check("batch", batch, integer(1))
        return self._start(np.uint32(check("seed", seed, integer(0, _MOST_SEEDS))), batch=batch)

    def predict(
        self,
        observation: PyTree,
        memory: PolicyMemory | None = None,
        episode_start: Any = None,
        reward: Any = None,
        deterministic: bool = True,
        *,
        seed: int | None = None,
    ) -> tuple[Any, PolicyMemory]:
        """Choose an action.

        Args:
            observation: Of one environment, or of a batch, `[batch, ...]`; the observation space tells which. Where the
                environment gives action masks in its `info`, `{"observation": ..., "action_mask": ...}`. Entries that
                only the critic sees (`critic_only` of the run) may be missing.
            memory: What the previous call returned; None at the first step of an episode.
            episode_start: Whether the observation is the first of an episode, `[batch]`; the memory is reset there
                before it is used. None: only where the memory is new.
            reward: Reward of the previous action, `[batch]`, or one number for all; it has no effect where an episode
                starts, and must be given where none does, unless the run's `inputs` are without it.
            deterministic: Whether to take the best action, as `memorax evaluate` does, rather than to sample as in
                training.
            seed: Random seed of sampled actions from this call on. None: that of the memory; without a memory, the
                number of calls so far that had neither.

        Returns:
            The action as the environment takes it, continuous ones scaled to the action space, a dictionary or a tuple
            where the action space is one, and the memory for the next call. Neither argument is changed: the same
            arguments give the same action.

        Raises:
            TypeError: Observation or memory is of the wrong kind.
            ValueError: Shapes do not fit, `reward` is missing, or an action mask allows nothing.
        """
        observation, single = self._as_batch(observation, acting=True)
        _, mask = split_action_mask(observation)
        if mask is not None:
            of_one = getattr(self.env, "agent_action_space", self.env.action_space)
            check_action_mask(of_one(self.env_params), mask)
        before = self._prepare(observation, memory, seed, count=not deterministic)
        start, reward = self._flags_and_rewards(before, episode_start, reward, single)
        behavior: Behavior = "exploit" if deterministic else "explore"
        action, after = self._act(self._learned, before, observation, reward, start, behavior=behavior)
        return jax.tree.map(lambda x: np.asarray(x)[0] if single else np.asarray(x), action), after

    @property
    def has_value(self) -> bool:
        """Whether the algorithm has a value function of observations, so that `value` can be asked."""
        return self.agent.acting(self._learned, "exploit")[1] is not None or isinstance(self.agent.networks, QFunction)

    def value(
        self, observation: PyTree, memory: PolicyMemory | None = None, episode_start: Any = None, reward: Any = None
    ) -> np.ndarray:
        """Estimate the value of an observation; of Q-functions the value of the greedy action.

        Args:
            observation: As `predict` takes it.
            memory: The memory before this observation: what the `predict` of the step before returned.
            episode_start: As `predict` takes it.
            reward: As `predict` takes it.

        Returns:
            The expected discounted return, `[batch]`, or `[]` for one environment; of several agents
            `[batch, agents]`. In units of the normalized reward where rewards were normalized.

        Raises:
            TypeError: The algorithm has no value function of observations, or an argument is of the wrong kind.
            ValueError: Shapes do not fit, or `reward` is missing.
        """
        observation, single = self._as_batch(observation)
        memory = self._prepare(observation, memory, None, count=False)
        start, reward = self._flags_and_rewards(memory, episode_start, reward, single)
        value = np.asarray(self._value(self._learned, memory, observation, reward, start))
        return value[0] if single else value

    def export(self, folder: str | Path, format: str = "stablehlo") -> "Export":
        """Write the policy, acting deterministically, to a folder that is used without memorax and without Flax.

        Args:
            folder: A new folder, or an empty one. It is complete or not there.
            format: `"stablehlo"` for JAX, `"onnx"` for ONNX Runtime, `"safetensors"` for the parameters alone.

        Returns:
            The folder and its card.

        Raises:
            ImportError: A library of the format is not installed.
            ValueError: The format is unknown, the folder is not empty, or ONNX has no counterpart for an operation of
                the networks; the message names it.
        """
        from memorax.experiment.export import export_policy

        return export_policy(self, folder, format)

    def _observation_space(self) -> Space:
        space, seen = self.env.observation_space(self.env_params), self._first.observation
        if not isinstance(seen, Mapping) or ACTION_MASK not in seen:
            return space
        parts = dict(space.spaces) if isinstance(space, Dict) else {"observation": space}
        return Dict({ACTION_MASK: mask_space(seen[ACTION_MASK])} | parts)

    def _step(self, *args: Any, behavior: Behavior) -> tuple[PyTree, PolicyMemory]:
        return act(self.agent, *args, behavior=behavior)[:2]

    def _estimate(
        self, learned: State, memory: PolicyMemory, observation: PyTree, reward: Array, start: Array
    ) -> Array:
        policy, value = self.agent.acting(learned, "exploit")
        timestep = Timestep(observation, memory.action, reward, memory.is_first | start)
        if value is not None:
            return main_values(value(memory.carry, timestep))
        if isinstance(self.agent.networks, QFunction):
            _, _, aux = policy(jax.random.key(0), memory.carry, timestep)
            return main_values(greedy_values(aux["q"]))
        raise TypeError(
            f"`value` needs an algorithm with a value function of observations, got {type(self.agent).__name__}"
        )

    def _as_batch(self, observation: PyTree, *, acting: bool = False) -> tuple[PyTree, bool]:
        """Give the observations of a batch in the dtypes the agent was trained with, and whether there was just one."""
        hidden = self.config.critic_only if acting and self.config is not None else ()
        return as_batch(observation, self.observation_space, self._first.observation, hidden)

    def _prepare(self, observation: PyTree, memory: PolicyMemory | None, seed: int | None, count: bool) -> PolicyMemory:
        """Give the memory before a step: a new one where there is none, with another seed where one is given."""
        batch = jax.tree.leaves(observation)[0].shape[0]
        if memory is None:
            if seed is None and count:
                seed, self._unseeded = self._unseeded, self._unseeded + 1
            return self.initial_memory(batch, 0 if seed is None else seed)
        if not isinstance(memory, PolicyMemory):
            raise TypeError(f"`memory` must be what `predict` returned, or None, got {type(memory).__name__}")
        if memory.is_first.shape[0] != batch:
            raise ValueError(
                f"`memory` must be of as many environments as `observation` ({batch}), got {memory.is_first.shape[0]}; "
                "start with `memory=None`"
            )
        if seed is None:
            return memory
        return memory.replace(seed=np.uint32(check("seed", seed, integer(0, _MOST_SEEDS))), step=np.uint32(0))  # type: ignore[attr-defined]

    def _flags_and_rewards(
        self, memory: PolicyMemory, episode_start: Any, reward: Any, single: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        shape = memory.is_first.shape
        start = rows("episode_start", False if episode_start is None else episode_start, np.bool_, shape, single)
        sees = self.config is None or "reward" in self.config.inputs
        if reward is None and sees and not np.all(start | np.asarray(memory.is_first)):
            raise ValueError(
                "`reward` must be given after the first step of an episode, got None: the agent sees the reward of its "
                "previous action; pass 0.0 where there is none"
            )
        return start, rows("reward", 0.0 if reward is None else reward, np.float32, shape, single)
