"""The driver of on-policy algorithms: roll out, learn from the rollout, discard it."""

import abc
import dataclasses
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from memorax.acting.agent import Algorithm, AlgorithmConfig, NetworksT
from memorax.acting.state import State
from memorax.acting.vector_env import RolloutState, VectorEnv
from memorax.core.types import Carry, Key, PyTree, Transition


class OnPolicyConfig(AlgorithmConfig, Protocol):
    """What the configuration of an on-policy algorithm has."""

    @property
    def num_steps(self) -> int:
        """Steps of each environment per rollout."""
        ...


OnPolicyConfigT = TypeVar("OnPolicyConfigT", bound=OnPolicyConfig)


class OnPolicy(Algorithm[OnPolicyConfigT, NetworksT]):
    """Acts for `config.num_steps` steps in every environment, then learns from these transitions and discards them.

    Args:
        config: The algorithm's configuration.
        env: Environment.
        env_params: Its parameters; None for its default ones.
        vector_env: Class that runs copies of the environment in parallel.

    Raises:
        TypeError: The configuration is not a `Config` of the algorithm.
    """

    def __init__(
        self, config: OnPolicyConfigT, env: Any, env_params: PyTree, *, vector_env: Callable[..., VectorEnv] = VectorEnv
    ) -> None:
        super().__init__(config, env, env_params, vector_env=vector_env)
        self.collect_steps = config.num_steps
        self.steps_per_update = config.num_envs * config.num_steps

    @abc.abstractmethod
    def learn(
        self, key: Key, learner: PyTree, trajectory: Transition, rollout_state: RolloutState, carry: Carry
    ) -> PyTree:
        """Learn from a rollout.

        Args:
            key: Random key.
            learner: What is learned, before the update.
            trajectory: The transitions, `[num_envs, num_steps, ...]`.
            rollout_state: State after them: `x_T` and the memory before it.
            carry: The memory before the first step of the trajectory.

        Returns:
            What is learned, after the update.
        """

    def learn_from(self, key: Key, state: State, rollout_state: RolloutState, trajectory: Transition) -> State:
        """Learn from a rollout that began in `state`."""
        scales = self.normalizer.after_rewards(state.scales, trajectory)
        seen = self.normalizer.transition(scales, trajectory), self.normalizer.rollout_state(scales, rollout_state)
        learner = self.learn(key, state.learner, *seen, state.loop.carry)
        scales = self.normalizer.after_observations(scales, trajectory, rollout_state)
        step = state.step + self.steps_per_update
        return dataclasses.replace(state, step=step, loop=rollout_state, learner=learner, scales=scales)
