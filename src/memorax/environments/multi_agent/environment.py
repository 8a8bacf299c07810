"""The protocol of environments with several agents."""

from abc import abstractmethod
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from memorax.core.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Space, Tuple
from memorax.core.types import Array, Key
from memorax.environments.environment import Environment, Step, auto_reset

StateT = TypeVar("StateT")
ParamsT = TypeVar("ParamsT")


class MultiAgentEnvironment(Environment[StateT, ParamsT]):
    """An environment with `num_agents` agents that act simultaneously.

    The protocol of `Environment`, with a leading axis of agents in every leaf of observation and action, in the reward
    and in both flags: `[agents, ...]`. All agents have the same spaces; where theirs differ, they are padded, and an
    `"action_mask"` in the observation says which actions exist.

    An agent that is done before the others keeps its flag set in every later step of the episode; its actions then have
    no effect. The episode ends, with auto-reset in the same step, once every agent has a flag set.

    A subclass implements `reset_env` and `step_env` (and `is_truncated`, for each agent or for all) and the spaces of
    one agent. `optimal_return` and `memoryless_return` are means over the agents.

    Attributes:
        num_agents: Number of agents.
        team_reward: Whether the rewards that an agent gets after it is done belong to its return, as where a team is
            rewarded together; False where each agent is only rewarded for what it does itself.
    """

    num_agents: int
    team_reward: bool = True

    @abstractmethod
    def agent_action_space(self, params: ParamsT | None = None) -> Space:
        """The action space of one agent."""

    @abstractmethod
    def agent_observation_space(self, params: ParamsT | None = None) -> Space:
        """The observation space of one agent."""

    def action_space(self, params: ParamsT | None = None) -> Space:
        """The joint action space, `[agents, ...]`."""
        return stack_space(self.agent_action_space(params), self.num_agents)

    def observation_space(self, params: ParamsT | None = None) -> Space:
        """The joint observation space, `[agents, ...]`."""
        return stack_space(self.agent_observation_space(params), self.num_agents)

    def step(self, key: Key, state: StateT, action: Array, params: ParamsT | None = None) -> Step:
        """Take one step with all agents and, where it ends the episode for the last of them, reset.

        Args:
            key: Random key.
            state: State before the step.
            action: An action for each agent, `[agents, ...]`.
            params: Environment parameters; by default `default_params`.

        Returns:
            `(observation, state, reward, terminated, truncated, info)`: observation `[agents, ...]`, reward float32
            `[agents]`, both flags boolean `[agents]`; `info["final_observation"]` is the observation before a reset.
        """
        given: ParamsT = self.default_params if params is None else params
        step_key, reset_key = jax.random.split(key)
        observation, next_state, reward, terminated, info = self.step_env(step_key, state, action, given)
        reward, terminated, truncated = (
            jnp.broadcast_to(x, (self.num_agents,)) for x in (reward, terminated, self.is_truncated(next_state, given))
        )
        over = jnp.all(terminated | truncated)
        outcome = (jnp.zeros(()), over, jnp.zeros_like(over))
        observation, next_state, _, _, _, info = auto_reset(
            self.reset_env(reset_key, given), (observation, next_state), outcome, info
        )
        flags = terminated.astype(bool), truncated.astype(bool)
        return observation, next_state, reward.astype(jnp.float32), *flags, info


def stack_space(space: Space, number: int) -> Space:
    """The space of several values of a space, stacked: `[number, ...]`.

    Args:
        space: The space of one value.
        number: Number of values.

    Returns:
        A space of the same kind; a Discrete becomes a MultiDiscrete.

    Raises:
        TypeError: If the space is of a kind without such a counterpart.
    """
    if isinstance(space, Discrete):
        return MultiDiscrete([space.n] * number, space.dtype)
    if isinstance(space, MultiBinary):
        return MultiBinary((number, *space.shape), space.dtype)
    if isinstance(space, MultiDiscrete):
        return MultiDiscrete(np.broadcast_to(np.reshape(space.nvec, space.shape), (number, *space.shape)), space.dtype)
    if isinstance(space, Box):
        shape = (number, *space.shape)
        return Box(np.broadcast_to(space.low, shape), np.broadcast_to(space.high, shape), shape, space.dtype)
    if isinstance(space, Dict):
        return Dict({name: stack_space(part, number) for name, part in space.spaces.items()})
    if isinstance(space, Tuple):
        return Tuple([stack_space(part, number) for part in space.spaces])
    raise TypeError(
        f"`space` of an agent must be one of `memorax.core.spaces`, got {space!r}; encode it in the environment"
    )
