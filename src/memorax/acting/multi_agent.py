"""Environments in which several agents act at the same time.

Arrays that belong to an agent have an axis of agents behind that of the environments: `[num_envs, agents, ...]`.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp
from flax import struct

from memorax.acting.episode_statistics import EpisodeStatistics
from memorax.acting.vector_env import RolloutState, VectorEnv
from memorax.core.spaces import ACTION_MASK, Space, flatten_space
from memorax.core.types import Array, Carry, Key, PyTree
from memorax.environments import Environment
from memorax.environments.environment import Step
from memorax.environments.multi_agent.environment import stack_space


def check_agents(env: Any) -> None:
    """Require an environment that says how many agents it has and what their spaces are.

    Raises:
        TypeError: It does not.
    """
    for name in ("num_agents", "agent_action_space", "agent_observation_space"):
        if not hasattr(env, name):
            raise TypeError(
                f"`env` must have several agents, got {type(env).__name__} without `{name}`; take a "
                "MultiAgentEnvironment, or another algorithm such as PPO"
            )


@struct.dataclass
class MultiAgentEpisodeStatistics(EpisodeStatistics):
    """Return and length of the running and of the last finished episode; returns are means over the agents."""

    def advance(self, reward: Array, done: Array) -> tuple["MultiAgentEpisodeStatistics", dict[str, Array]]:
        """Count one step, `[batch, agents]`; the episode ends when it has ended for every agent."""
        episode, info = super().advance(jnp.mean(reward, axis=1), jnp.all(done, axis=1))
        return MultiAgentEpisodeStatistics(**vars(episode)), info


class MultiAgentVectorEnv(VectorEnv):
    """A batch of copies of one environment with several agents.

    Args:
        env: A `MultiAgentEnvironment`, or anything that implements its protocol.
        env_params: Its parameters; None for its default ones.
        num_envs: Number of environments.

    Attributes:
        team_returns: Whether the return of an agent that is out goes on until the episode is over for all; at first
            what the environment's `team_reward` says, which is true where it says nothing.

    Raises:
        TypeError: The environment does not say how many agents it has, or what their spaces are.
    """

    def __init__(self, env: Any, env_params: PyTree, num_envs: int) -> None:
        check_agents(env)
        super().__init__(env, env_params, num_envs)
        self.num_agents: int = cast(Any, self.env).num_agents
        own = cast(Any, self.env).agent_action_space(self.env_params)
        self.policy_space = stack_space(flatten_space(own), self.num_agents)
        self.team_returns: bool = getattr(self.env, "team_reward", True)

    def ends(self, terminated: Array, truncated: Array) -> tuple[Array, Array]:
        """Give the flags that returns end with, `[..., agents]`: each agent's own, or for all those of the episode.

        The episode counts as truncated where that happened to an agent, so that returns bootstrap from what it was
        kept from; that others had left by then does not end it for them.
        """
        if not self.team_returns:
            return terminated, truncated
        over = jnp.all(terminated | truncated, axis=-1, keepdims=True)
        goes_on = over & jnp.any(truncated & ~terminated, axis=-1, keepdims=True)
        return jnp.broadcast_to(over & ~goes_on, terminated.shape), jnp.broadcast_to(goes_on, terminated.shape)

    def reset(self, key: Key, carry: Carry, num_envs: int | None = None) -> RolloutState:
        """Start an episode in every environment; the arguments are those of `VectorEnv.reset`."""
        state = super().reset(key, carry, num_envs)
        batch = (state.timestep.reward.shape[0], self.num_agents)
        reward, done = jnp.zeros(batch, jnp.float32), jnp.ones(batch, bool)
        timestep = dataclasses.replace(state.timestep, reward=reward, done=done)
        return RolloutState(timestep, state.env_state, carry, MultiAgentEpisodeStatistics.start(batch[0]))


class SingleAgentView(Environment[PyTree, PyTree]):
    """The environment as its first agent sees it, when all agents take the same action.

    It has the shapes and spaces that the networks of one agent are built for.

    Args:
        env: The environment.
        view: Maps the observations of all agents to what each is shown, `[agents, ...]` to `[agents, ...]`; None
            shows each its own.
        view_space: The space of what an agent is shown; None for that of its own observations.

    Raises:
        TypeError: The environment has no agents.
    """

    def __init__(
        self, env: Any, view: Callable[[PyTree], PyTree] | None = None, view_space: Space | None = None
    ) -> None:
        check_agents(env)
        self.env, self.view, self.view_space = env, view, view_space

    @property
    def default_params(self) -> Any:
        """Those of the environment."""
        return self.env.default_params

    def reset(self, key: Key, params: PyTree | None = None) -> tuple[PyTree, PyTree]:
        """Start an episode."""
        observation, state = self.env.reset(key, params)
        return self._observe(observation), state

    def step(self, key: Key, state: PyTree, action: Array, params: PyTree | None = None) -> Step:
        """Take one step in which every agent takes the same action."""
        actions = jax.tree.map(lambda x: jnp.broadcast_to(x, (self.env.num_agents, *x.shape)), action)
        observation, state, *outcome, info = self.env.step(key, state, actions, params)
        own_info = {"final_observation": self._observe(info["final_observation"])}
        if ACTION_MASK in info:
            own_info[ACTION_MASK] = self._first(info[ACTION_MASK])
        reward, terminated, truncated = self._first(tuple(outcome))
        return self._observe(observation), state, reward, terminated, truncated, own_info

    def _observe(self, observation: PyTree) -> PyTree:
        return self._first(observation if self.view is None else self.view(observation))

    def _first(self, tree: PyTree) -> PyTree:
        return jax.tree.map(lambda x: x[0], tree)

    def action_space(self, params: PyTree | None = None) -> Space:
        """The actions of one agent."""
        return self.env.agent_action_space(params)

    def observation_space(self, params: PyTree | None = None) -> Space:
        """The space of what one agent is shown."""
        return self.env.agent_observation_space(params) if self.view_space is None else self.view_space
