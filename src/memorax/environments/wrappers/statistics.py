"""RecordEpisodeStatistics: report return and length of every episode."""

import jax.numpy as jnp
from flax import struct

from memorax.core.types import Array, Key, PyTree
from memorax.environments.environment import Step
from memorax.environments.wrappers.base import Wrapper


@struct.dataclass
class StatisticsState:
    """State of RecordEpisodeStatistics.

    Attributes:
        env_state: State of the inner environment.
        episode_return: Sum of rewards of the current episode, float32.
        episode_length: Steps of the current episode, int32.
        returned_return: Return of the last finished episode, float32; 0 before the first.
        returned_length: Length of the last finished episode, int32; 0 before the first.
    """

    env_state: PyTree
    episode_return: Array
    episode_length: Array
    returned_return: Array
    returned_length: Array


class RecordEpisodeStatistics(Wrapper):
    """Report the return and the length of episodes in `info`; nothing else changes.

    * `info["returned_episode"]`: whether an episode ended in this step.
    * `info["returned_episode_returns"]`, `info["returned_episode_lengths"]`: of the last episode that ended.

    Agents do this by themselves; the wrapper is for environments used without an agent. Put it outside TimeLimit.
    Wrapping twice gives the same numbers.
    """

    def reset(self, key: Key, params: PyTree | None = None) -> tuple[PyTree, StatisticsState]:
        """Start an episode."""
        observation, env_state = self.env.reset(key, params)
        return observation, StatisticsState(
            env_state=env_state,
            episode_return=jnp.zeros((), jnp.float32),
            episode_length=jnp.zeros((), jnp.int32),
            returned_return=jnp.zeros((), jnp.float32),
            returned_length=jnp.zeros((), jnp.int32),
        )

    def step(self, key: Key, state: StatisticsState, action: Array, params: PyTree | None = None) -> Step:
        """Take one step and count it."""
        observation, env_state, reward, terminated, truncated, info = self.env.step(
            key, state.env_state, action, params
        )
        done = terminated | truncated
        total, length = state.episode_return + reward, state.episode_length + 1
        state = StatisticsState(
            env_state=env_state,
            episode_return=jnp.where(done, 0.0, total),
            episode_length=jnp.where(done, 0, length),
            returned_return=jnp.where(done, total, state.returned_return),
            returned_length=jnp.where(done, length, state.returned_length),
        )
        info = {
            **info,
            "returned_episode": done,
            "returned_episode_returns": state.returned_return,
            "returned_episode_lengths": state.returned_length,
        }
        return observation, state, reward, terminated, truncated, info
