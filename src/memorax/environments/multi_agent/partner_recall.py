"""PartnerRecall: remember and repeat what the neighbor did."""

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
class PartnerRecallParams(EnvParams):
    """Parameters of PartnerRecall.

    Attributes:
        delay: Steps from observing the neighbor's action to the query, int32.
    """

    delay: Array | np.int32


@struct.dataclass
class PartnerRecallState(EnvState):
    """State of PartnerRecall.

    Attributes:
        time: Completed steps.
        symbol: Symbol of each agent, int32 `[agents]`.
        said: Action of each agent in the first step, int32 `[agents]`.
    """

    symbol: Array
    said: Array


class PartnerRecall(MultiAgentEnvironment[PartnerRecallState, PartnerRecallParams]):
    """Name a symbol, observe what the neighbor named, and repeat that when queried.

    The agents stand in a circle. Each is shown a symbol of its own and names it by its action, which its neighbor
    observes in the next step only, and must repeat at the end. Symbols are independent and uniform, so without memory
    agents can only guess, or agree to name always the same symbol, which costs as much as it gains.

    * Observation of an agent: float32 `[2 * num_symbols + 1]`: its symbol, one-hot (at time 0, later 0); the action of
      its neighbor in the first step, one-hot (at time 1, else 0); whether it is queried now (at time `delay` + 1).
    * Action of an agent: a symbol, `Discrete(num_symbols)`; only the first and the last count.
    * Reward of an agent: 0.5 for naming its symbol in the first step, and 0.5 for repeating its neighbor's first
      action in the last, `-0.5 / (num_symbols - 1)` for any other action there; otherwise 0.
    * Length: `delay` + 2 steps, ended by termination for all agents at once.
    * Returns (mean over agents): 1 with memory, 0.5 at best without, 0 at random.

    Source: this library.
    """

    team_reward = False
    optimal_return = 1.0
    memoryless_return = 0.5

    def __init__(self, delay: int = 4, *, num_agents: int = 2, num_symbols: int = 2) -> None:
        """Create the task.

        Args:
            delay: Steps from observing the neighbor's action to the query, at least 1.
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
    def default_params(self) -> PartnerRecallParams:
        """Parameters that `reset` and `step` use by default."""
        return PartnerRecallParams(delay=np.int32(self.delay))

    def reset_env(self, key: Key, params: PartnerRecallParams) -> tuple[Array, PartnerRecallState]:
        """Show every agent a symbol."""
        symbol = jax.random.randint(key, (self.num_agents,), 0, self.num_symbols)
        state = PartnerRecallState(time=jnp.zeros((), jnp.int32), symbol=symbol, said=jnp.zeros_like(symbol))
        return self._observe(state, params), state

    def _observe(self, state: PartnerRecallState, params: PartnerRecallParams) -> Array:
        own, said = (jax.nn.one_hot(x, self.num_symbols) for x in (state.symbol, jnp.roll(state.said, 1)))
        asked = jnp.full((self.num_agents, 1), state.time == params.delay + 1, jnp.float32)
        return jnp.concatenate([own * (state.time == 0), said * (state.time == 1), asked], axis=-1)

    def step_env(
        self, key: Key, state: PartnerRecallState, action: Array, params: PartnerRecallParams
    ) -> tuple[Array, PartnerRecallState, Array, Array, dict[str, Any]]:
        """Let all agents name their symbol, wait, or answer."""
        action = jnp.clip(jnp.asarray(action), 0, self.num_symbols - 1).astype(jnp.int32)
        first, last = state.time == 0, state.time >= params.delay + 1
        asked_for = jnp.where(first, state.symbol, jnp.roll(state.said, 1))
        pay = jnp.where(action == asked_for, 0.5, -0.5 / (self.num_symbols - 1))
        said = jnp.where(first, action, state.said)
        state = PartnerRecallState(time=state.time + 1, symbol=state.symbol, said=said)
        return self._observe(state, params), state, jnp.where(first | last, pay, 0.0), last, {}

    def agent_action_space(self, params: PartnerRecallParams | None = None) -> Discrete:
        """A symbol."""
        return Discrete(self.num_symbols)

    def agent_observation_space(self, params: PartnerRecallParams | None = None) -> Box:
        """Own symbol, the neighbor's action, the query."""
        return Box(0.0, 1.0, (2 * self.num_symbols + 1,))

    def horizon(self, params: PartnerRecallParams | None = None) -> int:
        """Naming, waiting and answering."""
        return self.memory_length(params) + 2

    def memory_length(self, params: PartnerRecallParams | None = None) -> int:
        """From observing the neighbor's action to the answer."""
        return int((params or self.default_params).delay)

    def credit_length(self, params: PartnerRecallParams | None = None) -> int:
        """Every answer is rewarded at once."""
        return 1
