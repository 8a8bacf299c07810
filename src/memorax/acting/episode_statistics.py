"""Return and length of episodes, counted while environments are stepped."""

import jax.numpy as jnp
from flax import struct

from memorax.core.types import Array


@struct.dataclass
class EpisodeStatistics:
    """Return and length of the running episode and of the last finished one, each `[batch]`.

    Attributes:
        running_return: Sum of the rewards of the running episode so far, without discount, float32.
        running_length: Its steps so far, int32.
        last_return: Undiscounted return of the last finished episode, 0 before the first, float32.
        last_length: Its steps, int32.
    """

    running_return: Array
    running_length: Array
    last_return: Array
    last_length: Array

    @classmethod
    def start(cls, batch: int) -> "EpisodeStatistics":
        """Start counting in `batch` environments."""
        zero, none = jnp.zeros(batch, jnp.float32), jnp.zeros(batch, jnp.int32)
        return cls(zero, none, zero, none)

    def advance(self, reward: Array, done: Array) -> tuple["EpisodeStatistics", dict[str, Array]]:
        """Count one step; return the new statistics and what to log about the step."""
        total, length = self.running_return + reward, self.running_length + 1
        last_return = jnp.where(done, total, self.last_return)
        last_length = jnp.where(done, length, self.last_length)
        info = {
            "returned_episode": done,
            "returned_episode_returns": last_return,
            "returned_episode_lengths": last_length,
        }
        running_return, running_length = jnp.where(done, 0.0, total), jnp.where(done, 0, length)
        return EpisodeStatistics(running_return, running_length, last_return, last_length), info
