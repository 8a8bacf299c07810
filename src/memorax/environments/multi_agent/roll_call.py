"""RollCall: remember a symbol until called, one agent after the other."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from memorax.core.checks import check, size, steps
from memorax.core.spaces import Box, Discrete
from memorax.core.types import Array, Key
from memorax.environments.environment import EnvParams, EnvState
from memorax.environments.multi_agent.environment import MultiAgentEnvironment


@struct.dataclass
class RollCallParams(EnvParams):
    """Parameters of RollCall.

    Attributes:
        delay: Steps before the first call, int32.
    """

    delay: Array | np.int32


@struct.dataclass
class RollCallState(EnvState):
    """State of RollCall.

    Attributes:
        time: Completed steps.
        symbol: Symbol of each agent, int32 `[agents]`.
        turn: Order of the calls, int32 `[agents]`, a permutation of `0 .. agents-1`.
    """

    symbol: Array
    turn: Array


class RollCall(MultiAgentEnvironment[RollCallState, RollCallParams]):
    """Remember a symbol until called; agents are called one by one in random order and are done after their answer.

    * Observation of an agent: float32 `[num_symbols + 1]`: its symbol, one-hot (at time 0, later 0); whether it is
      called now.
    * Action of an agent: a symbol, `Discrete(num_symbols)`; only the one at its call counts.
    * Reward of an agent: at its call 1 for its symbol and `-1 / (num_symbols - 1)` for any other, otherwise 0.
    * Length: `delay + num_agents` steps; each agent terminates with its own call.
    * Returns (mean over agents): 1 with memory, 0 at best without, 0 at random.

    Source: this library.
    """

    team_reward = False
    optimal_return = 1.0
    memoryless_return = 0.0

    def __init__(self, delay: int = 3, *, num_agents: int = 3, num_symbols: int = 2) -> None:
        """Create the task.

        Args:
            delay: Steps before the first call, at least 1.
            num_agents: Number of agents, at least 2.
            num_symbols: Number of symbols, at least 2.

        Raises:
            TypeError: If one of them is not an integer.
            ValueError: If one of them is out of range.
        """
        self.delay = check("delay", delay, steps())
        self.num_agents = check("num_agents", num_agents, size(2))
        self.num_symbols = check("num_symbols", num_symbols, size(2))

    @property
    def default_params(self) -> RollCallParams:
        """Parameters that `reset` and `step` use by default."""
        return RollCallParams(delay=np.int32(self.delay))

    def reset_env(self, key: Key, params: RollCallParams) -> tuple[Array, RollCallState]:
        """Show every agent a symbol, and draw the order of the calls."""
        symbol_key, turn_key = jax.random.split(key)
        symbol = jax.random.randint(symbol_key, (self.num_agents,), 0, self.num_symbols)
        turn = jax.random.permutation(turn_key, jnp.arange(self.num_agents, dtype=jnp.int32))
        state = RollCallState(time=jnp.zeros((), jnp.int32), symbol=symbol, turn=turn)
        return self._observe(state, params), state

    def _observe(self, state: RollCallState, params: RollCallParams) -> Array:
        own = jax.nn.one_hot(state.symbol, self.num_symbols) * (state.time == 0)
        called = (state.time == params.delay + state.turn).astype(jnp.float32)
        return jnp.concatenate([own, called[:, None]], axis=-1)

    def step_env(
        self, key: Key, state: RollCallState, action: Array, params: RollCallParams
    ) -> tuple[Array, RollCallState, Array, Array, dict[str, Any]]:
        """Let all agents wait except the called one, which answers and is done."""
        action = jnp.clip(jnp.asarray(action), 0, self.num_symbols - 1).astype(jnp.int32)
        pay = jnp.where(action == state.symbol, 1.0, -1.0 / (self.num_symbols - 1))
        reward = jnp.where(state.time == params.delay + state.turn, pay, 0.0)
        out = state.time >= params.delay + state.turn
        state = RollCallState(time=state.time + 1, symbol=state.symbol, turn=state.turn)
        return self._observe(state, params), state, reward, out, {}

    def agent_action_space(self, params: RollCallParams | None = None) -> Discrete:
        """A symbol."""
        return Discrete(self.num_symbols)

    def agent_observation_space(self, params: RollCallParams | None = None) -> Box:
        """Own symbol and the call."""
        return Box(0.0, 1.0, (self.num_symbols + 1,))

    def horizon(self, params: RollCallParams | None = None) -> int:
        """The delay, then one step for each call."""
        return int((params or self.default_params).delay) + self.num_agents

    def credit_length(self, params: RollCallParams | None = None) -> int:
        """Every answer is rewarded at once."""
        return 1
