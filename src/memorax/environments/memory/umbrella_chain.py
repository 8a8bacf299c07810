"""UmbrellaChain: one decision at the start, rewarded at the end of a long and noisy episode."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from memorax.core.checks import check, size, steps
from memorax.core.spaces import Box, Discrete
from memorax.core.types import Array, Key
from memorax.environments.environment import EnvParams, EnvState
from memorax.environments.memory.parts.task import Task, clip_action


@struct.dataclass
class UmbrellaChainParams(EnvParams):
    """Parameters of UmbrellaChain.

    Attributes:
        length: Steps of the episode, int32.
    """

    length: Array | np.int32


@struct.dataclass
class UmbrellaChainState(EnvState):
    """State of UmbrellaChain.

    Attributes:
        time: Completed steps.
        need: Whether it will rain, int32, 0 or 1.
        has: Whether the agent carries an umbrella, int32, 0 or 1.
    """

    need: Array
    has: Array


def _coins(key: Key, number: int) -> Array:
    """Fair coin flips, 0 or 1, int32 `[number]`: the bits of a few random words, which is cheaper than a word each."""
    which = np.arange(number)
    words = jax.random.bits(key, (-(-number // 32),))
    return (words[which // 32] >> (which % 32).astype(np.uint32) & 1).astype(jnp.int32)


class UmbrellaChain(Task[UmbrellaChainState, UmbrellaChainParams]):
    """Take an umbrella or leave it in the first step; the choice is rewarded in the last step.

    A test of credit assignment, not of memory: forecast and umbrella are always visible, so the best policy without
    memory loses nothing. Between the first step and the last, rewards are random.

    * Observation: float32 `[3 + distractors]`: whether it will rain, whether the agent has an umbrella, the
      fraction of time left, and fair coin flips without meaning.
    * Action: leave the umbrella or take it, `Discrete(2)`; only the first one counts.
    * Reward: in the last step 1 if the agent has what it needs and -1 otherwise, before that 1 or -1 at random.
    * Length: `length` steps, ended by termination.
    * Returns: 1 in expectation for following the forecast, 0 at random.

    Source: Osband et al. (2020), Behaviour Suite for Reinforcement Learning, https://arxiv.org/abs/1908.03568.
    """

    optimal_return = 1.0
    memoryless_return = 1.0

    def __init__(self, length: int = 10, *, distractors: int = 20) -> None:
        """Create the task.

        Args:
            length: Steps of the episode, at least 1.
            distractors: Number of coin flips shown, at least 0.

        Raises:
            TypeError: If `length` or `distractors` is not an integer.
            ValueError: If `length` is below 1 or `distractors` below 0.
        """
        self.length = check("length", length, steps())
        self.distractors = check("distractors", distractors, size(0))

    @property
    def default_params(self) -> UmbrellaChainParams:
        """Parameters that `reset` and `step` use by default."""
        return UmbrellaChainParams(length=np.int32(self.length))

    def draw_start(self, key: Key, params: UmbrellaChainParams) -> Array:
        """Draw forecast, umbrella, and the first coin flips, int32 `[2 + distractors]`."""
        return _coins(key, 2 + self.distractors)

    def start(self, drawn: Array, params: UmbrellaChainParams) -> tuple[Array, UmbrellaChainState]:
        """Start an episode."""
        drawn = jnp.asarray(drawn, jnp.int32)
        state = UmbrellaChainState(time=jnp.zeros((), jnp.int32), need=drawn[0], has=drawn[1])
        return self._observe(state, drawn[2:], params), state

    def _observe(self, state: UmbrellaChainState, coins: Array, params: UmbrellaChainParams) -> Array:
        # In this order the fraction is exactly 0 at the end; `1 - time / length` can round below it.
        left = (params.length - state.time) / params.length
        return jnp.concatenate([jnp.stack([state.need, state.has, left]), coins]).astype(jnp.float32)

    def draw(self, key: Key, state: UmbrellaChainState, params: UmbrellaChainParams) -> Array:
        """Draw the random reward and the next coin flips, 0 or 1, int32 `[1 + distractors]`."""
        return _coins(key, 1 + self.distractors)

    def transition(
        self, state: UmbrellaChainState, action: Array, drawn: Array, params: UmbrellaChainParams
    ) -> tuple[Array, UmbrellaChainState, Array, Array]:
        """Decide in the first step, be rewarded in the last."""
        drawn = jnp.asarray(drawn, jnp.int32)
        has = jnp.where(state.time == 0, clip_action(action, 2), state.has)
        state = UmbrellaChainState(time=state.time + 1, need=state.need, has=has)
        last = state.time >= params.length
        reward = jnp.where(jnp.where(last, has == state.need, drawn[0] == 1), 1.0, -1.0)
        return self._observe(state, drawn[1:], params), state, reward, last

    def action_space(self, params: UmbrellaChainParams | None = None) -> Discrete:
        """Leave it, take it."""
        return Discrete(2)

    def observation_space(self, params: UmbrellaChainParams | None = None) -> Box:
        """Forecast, umbrella, time left, coin flips."""
        return Box(0.0, 1.0, (3 + self.distractors,))

    def horizon(self, params: UmbrellaChainParams | None = None) -> int:
        """The length of the episode."""
        return int((params or self.default_params).length)

    def memory_length(self, params: UmbrellaChainParams | None = None) -> int:
        """Nothing must be remembered."""
        return 0

    def credit_length(self, params: UmbrellaChainParams | None = None) -> int:
        """From the first action to the last reward."""
        return self.horizon(params)
