"""Copy and SelectiveCopy: remember a sequence of symbols and reproduce it."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from memorax.core.checks import check, size, steps
from memorax.core.spaces import Box, Discrete
from memorax.core.types import Array, Key
from memorax.environments.environment import EnvParams, EnvState
from memorax.environments.memory.parts.prng import integers, split
from memorax.environments.memory.parts.task import Task, clip_action


@struct.dataclass
class CopyParams(EnvParams):
    """Parameters of both tasks.

    Attributes:
        length: Number of blanks, int32.
    """

    length: Array | np.int32


@struct.dataclass
class CopyState(EnvState):
    """State of both tasks.

    Attributes:
        time: Completed steps.
        symbols: The sequence to reproduce, int32 `[items]`.
        shown: Number of symbols shown so far, int32.
    """

    symbols: Array
    shown: Array


class Copy(Task[CopyState, CopyParams]):
    """See a sequence of symbols, wait through blanks, and reproduce it in the same order.

    * Observation: float32 `[symbols + 2]`: the current symbol (one-hot), whether it is a blank, whether to answer.
    * Action: a symbol, `Discrete(symbols)`; ignored before the answers.
    * Reward: `1 / items` for each correct symbol, otherwise 0.
    * Length: `2 * items + length` steps, ended by termination.
    * Returns: 1 with memory; `1 / symbols` at random and at best without memory.

    Source: Hochreiter & Schmidhuber (1997), Long Short-Term Memory, https://doi.org/10.1162/neco.1997.9.8.1735; in
    this form Arjovsky et al. (2016), Unitary Evolution Recurrent Neural Networks, https://arxiv.org/abs/1511.06464.
    """

    optimal_return = 1.0

    def __init__(self, length: int = 10, *, items: int = 4, symbols: int = 4) -> None:
        """Create the task.

        Args:
            length: Number of blanks, at least 0.
            items: Number of symbols shown, at least 1.
            symbols: Number of different symbols, at least 2.

        Raises:
            TypeError: If an argument is not an integer.
            ValueError: If an argument is too small.
        """
        self.length = check("length", length, steps(0))
        self.items = check("items", items, steps())
        self.symbols = check("symbols", symbols, size(2))
        self.memoryless_return = 1.0 / self.symbols

    @property
    def default_params(self) -> CopyParams:
        """Parameters that `reset` and `step` use by default."""
        return CopyParams(length=np.int32(self.length))

    def draw_start(self, key: Key, params: CopyParams) -> tuple[Array, Array]:
        """Draw the symbols, and whether the first observation shows one."""
        symbols_key, slot_key = split(key)
        symbols = integers(symbols_key, self.symbols, (self.items,))
        return symbols, self._draw_slot(slot_key, jnp.int32(0), jnp.int32(0), params)

    def _draw_slot(self, key: Key, time: Array, shown: Array, params: CopyParams) -> Array:
        return shown < self.items

    def start(self, drawn: tuple[Array, Array], params: CopyParams) -> tuple[Array, CopyState]:
        """Show the first symbol or a blank."""
        symbols, zero = jnp.asarray(drawn[0], jnp.int32), jnp.zeros((), jnp.int32)
        return self._show(CopyState(time=zero, symbols=symbols, shown=zero), drawn[1], params)

    def _show(self, state: CopyState, filled: Array, params: CopyParams) -> tuple[Array, CopyState]:
        write = state.time >= self.items + params.length
        filled = jnp.asarray(filled, bool) & ~write & (state.shown < self.items)
        # The one-hot of -1 is all zero.
        symbol = jnp.where(filled, state.symbols[jnp.minimum(state.shown, self.items - 1)], -1)
        flags = jnp.stack([~filled & ~write, write]).astype(jnp.float32)
        observation = jnp.concatenate([jax.nn.one_hot(symbol, self.symbols, dtype=jnp.float32), flags])
        return observation, state.replace(shown=state.shown + filled)  # type: ignore[attr-defined]

    def draw(self, key: Key, state: CopyState, params: CopyParams) -> Array:
        """Draw whether the next observation holds a symbol."""
        return self._draw_slot(key, state.time + 1, state.shown, params)

    def transition(
        self, state: CopyState, action: Array, drawn: Array, params: CopyParams
    ) -> tuple[Array, CopyState, Array, Array]:
        """Show the next symbol or blank, and judge an answer."""
        place = state.time - self.items - params.length
        right = clip_action(action, self.symbols) == state.symbols[jnp.clip(place, 0, self.items - 1)]
        reward = jnp.where((place >= 0) & right, 1.0 / self.items, 0.0)
        state = CopyState(time=state.time + 1, symbols=state.symbols, shown=state.shown)
        return *self._show(state, drawn, params), reward, state.time >= 2 * self.items + params.length

    def action_space(self, params: CopyParams | None = None) -> Discrete:
        """A symbol."""
        return Discrete(self.symbols)

    def observation_space(self, params: CopyParams | None = None) -> Box:
        """A symbol and two flags."""
        return Box(0.0, 1.0, (self.symbols + 2,))

    def horizon(self, params: CopyParams | None = None) -> int:
        """Symbols, blanks and answers."""
        return 2 * self.items + int((params or self.default_params).length)

    def memory_length(self, params: CopyParams | None = None) -> int:
        """From a symbol to the step that reproduces it."""
        return self.horizon(params) - self.items

    def credit_length(self, params: Any = None) -> int:
        """Each symbol is rewarded at once."""
        return 1


class SelectiveCopy(Copy):
    """See symbols scattered among blanks, then reproduce them in the same order.

    Every choice of `items` places among the first `items + length` steps is equally likely.

    * Observation, * Action, * Reward, * Length and returns: those of Copy.

    Source: Gu & Dao (2023), Mamba: Linear-Time Sequence Modeling with Selective State Spaces,
    https://arxiv.org/abs/2312.00752.
    """

    def _draw_slot(self, key: Key, time: Array, shown: Array, params: CopyParams) -> Array:
        # Place by place, with probability (symbols left) / (places left).
        places = jnp.maximum(self.items + params.length - time, 1)
        return integers(key, places) < self.items - shown
