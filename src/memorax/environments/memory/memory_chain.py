"""MemoryChain: see some bits, wait, answer for one of them."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import struct

from memorax.core.checks import check, size, steps
from memorax.core.spaces import Box, Discrete
from memorax.core.types import Array, Key
from memorax.environments.environment import EnvParams, EnvState
from memorax.environments.memory.parts.prng import uniform
from memorax.environments.memory.parts.task import Task, clip_action


@struct.dataclass
class MemoryChainParams(EnvParams):
    """Parameters of MemoryChain.

    Attributes:
        length: Steps before the answer, int32.
    """

    length: Array | np.int32


@struct.dataclass
class MemoryChainState(EnvState):
    """State of MemoryChain.

    Attributes:
        time: Completed steps.
        bits: The bits to remember, int32 `[num_bits]`, 0 or 1.
        query: Index of the queried bit, int32.
    """

    bits: Array
    query: Array


class MemoryChain(Task[MemoryChainState, MemoryChainParams]):
    """Remember a few bits and report the queried one at the end.

    The observation after step i is that of time i - 1, as in the original, so the bits are shown twice: at the start
    and after the first step. Only the last action counts.

    * Observation: float32 `[num_bits + 2]`: the fraction of time left, the index of the queried bit (in the last
      observation before the answer), the bits as -1 or 1 (at time 0, later 0).
    * Action: a bit, `Discrete(2)`.
    * Reward: in the last step 1 for the correct bit and -1 for the wrong one, otherwise 0.
    * Length: `length + 1` steps, ended by termination.
    * Returns: 1 with memory; 0 at random and, from length 2, at best without memory.

    Source: Osband et al. (2020), Behaviour Suite for Reinforcement Learning, https://arxiv.org/abs/1908.03568.
    """

    optimal_return = 1.0

    def __init__(self, length: int = 10, *, num_bits: int = 1) -> None:
        """Create the task.

        Args:
            length: Steps before the answer, at least 1.
            num_bits: Number of bits, at least 1.

        Raises:
            TypeError: If `length` or `num_bits` is not an integer.
            ValueError: If `length` or `num_bits` is below 1.
        """
        self.length = check("length", length, steps())
        self.num_bits = check("num_bits", num_bits, size())
        # At length 1 the bits are still visible when the answer is given.
        self.memoryless_return = 1.0 if self.length == 1 else 0.0

    @property
    def default_params(self) -> MemoryChainParams:
        """Parameters that `reset` and `step` use by default."""
        return MemoryChainParams(length=np.int32(self.length))

    def draw_start(self, key: Key, params: MemoryChainParams) -> tuple[Array, Array]:
        """Draw the bits and the queried index."""
        drawn = uniform(key, (self.num_bits + 1,))
        query = jnp.minimum(jnp.floor(drawn[0] * self.num_bits), self.num_bits - 1)
        return (drawn[1:] < 0.5).astype(jnp.int32), query.astype(jnp.int32)

    def start(self, drawn: tuple[Array, Array], params: MemoryChainParams) -> tuple[Array, MemoryChainState]:
        """Show the bits."""
        bits, query = (jnp.asarray(value, jnp.int32) for value in drawn)
        state = MemoryChainState(time=jnp.zeros((), jnp.int32), bits=bits, query=query)
        return self._observe(state, params), state

    def _observe(self, state: MemoryChainState, params: MemoryChainParams) -> Array:
        # In this order the fraction is exactly 0 at the end; `1 - time / length` can round below it.
        left = (params.length - state.time) / params.length
        query = jnp.where(state.time == params.length - 1, state.query, 0)
        bits = jnp.where(state.time == 0, 2 * state.bits - 1, 0)
        head = jnp.stack([left.astype(jnp.float32), query.astype(jnp.float32)])
        return jnp.concatenate([head, bits.astype(jnp.float32)])

    def transition(
        self, state: MemoryChainState, action: Array, drawn: Any, params: MemoryChainParams
    ) -> tuple[Array, MemoryChainState, Array, Array]:
        """Wait, or answer."""
        observation = self._observe(state, params)
        last = state.time >= params.length
        right = clip_action(action, 2) == state.bits[state.query]
        reward = jnp.where(last, jnp.where(right, 1.0, -1.0), 0.0)
        state = MemoryChainState(time=state.time + 1, bits=state.bits, query=state.query)
        return observation, state, reward, last

    def action_space(self, params: MemoryChainParams | None = None) -> Discrete:
        """A bit."""
        return Discrete(2)

    def observation_space(self, params: MemoryChainParams | None = None) -> Box:
        """Time left, query, bits."""
        low = np.array([0.0, 0.0] + [-1.0] * self.num_bits)
        high = np.array([1.0, max(self.num_bits - 1, 0)] + [1.0] * self.num_bits)
        return Box(low, high)

    def horizon(self, params: MemoryChainParams | None = None) -> int:
        """The waiting steps and the answer."""
        return int((params or self.default_params).length) + 1

    def memory_length(self, params: MemoryChainParams | None = None) -> int:
        """From the second time the bits are shown to the answer."""
        return int((params or self.default_params).length) - 1

    def credit_length(self, params: MemoryChainParams | None = None) -> int:
        """The answer is rewarded at once."""
        return 1
