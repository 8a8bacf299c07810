"""CountRecall: tell how often a symbol has been seen."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from memorax.core.checks import check, integer
from memorax.core.spaces import Box, Discrete
from memorax.core.types import Array, Key
from memorax.environments.environment import EnvParams, EnvState
from memorax.environments.memory.parts.deck import COLORS, DECK, MOST_DECKS, RANKS, SUITS, full, pick, remaining, take
from memorax.environments.memory.parts.picture import paint_cards
from memorax.environments.memory.parts.prng import bits
from memorax.environments.memory.parts.task import Task, clip_action, settings_for

_SETTINGS = {"Easy": (1, COLORS), "Medium": (2, SUITS), "Hard": (4, RANKS)}


@struct.dataclass
class CountRecallState(EnvState):
    """State of CountRecall.

    Attributes:
        time: Completed steps; card number `time` of both stacks is visible.
        value: The symbol of the current value, int32.
        query: The queried symbol, int32.
        left: Undealt cards of either stack of each symbol and the symbols before it (cumulative), int32 `[2, symbols]`.
    """

    value: Array
    query: Array
    left: Array


class CountRecall(Task[CountRecallState, EnvParams]):
    """Count how many cards of the queried symbol have been dealt so far.

    Two stacks of N cards (52 times the number of decks) are dealt without replacement, one card of each per step. The
    first gives values, which are counted, the current one included; the second gives queries.

    * Observation: float32 `[2 K]`: one-hot of the value, one-hot of the queried symbol.
    * Action: the count, `Discrete(N / K + 1)`.
    * Reward: `1 / (N - 1)` for the correct count, `-1 / (N - 1)` for a wrong one.
    * Length: N - 1 steps, ended by termination.
    * Easy, Medium, Hard: 1, 2, 4 decks and K = 2 colors, 4 suits, 13 ranks.

    Source: Morad et al. (2023), POPGym: Benchmarking Partially Observable Reinforcement Learning,
    https://arxiv.org/abs/2303.01859.
    """

    optimal_return = 1.0

    def __init__(self, difficulty: str = "Easy", *, decks: int | None = None) -> None:
        """Create the task.

        Args:
            difficulty: "Easy", "Medium" or "Hard".
            decks: Number of decks; by default that of the difficulty.

        Raises:
            TypeError: If `decks` is not an integer.
            ValueError: If `difficulty` is unknown or `decks` is below 1.
        """
        default_decks, self.symbols = settings_for(difficulty, _SETTINGS)
        self.difficulty = difficulty
        self.decks = check("decks", default_decks if decks is None else decks, integer(1, MOST_DECKS))
        self.num_cards = DECK * self.decks
        self.most = self.num_cards // self.symbols
        # Averaged over the episode all numbers but the largest are equally likely: `most` of them (from 1 on) where
        # value and query agree, and one more where they do not.
        same, other = (self.num_cards / (self.num_cards - 1) / n for n in (self.most, self.most + 1))
        self.memoryless_return = 2 * (same + (self.symbols - 1) * other) / self.symbols - 1

    @property
    def name(self) -> str:
        """Name of the environment."""
        return f"CountRecall{self.difficulty}"

    def draw_start(self, key: Key, params: EnvParams) -> Array:
        """Draw the first value and query, int32 `[2]`."""
        return self._deal(key, self._full())

    def _full(self) -> Array:
        return jnp.stack([full(self.decks, self.symbols)] * 2)

    def _deal(self, key: Key, left: Array) -> Array:
        return jax.vmap(pick)(bits(key, (2,)), left)

    def start(self, drawn: Array, params: EnvParams) -> tuple[Array, CountRecallState]:
        """Show the first value and query."""
        return self._show(jnp.zeros((), jnp.int32), drawn, self._full())

    def _show(self, time: Array, drawn: Array, left: Array) -> tuple[Array, CountRecallState]:
        shown = jnp.asarray(drawn, jnp.int32)
        faces = shown[:, None] == jnp.arange(self.symbols)[None]
        state = CountRecallState(time=time, value=shown[0], query=shown[1], left=jax.vmap(take)(left, shown))
        return faces.astype(jnp.float32).reshape(-1), state

    def draw(self, key: Key, state: CountRecallState, params: EnvParams) -> Array:
        """Draw the next value and query, int32 `[2]`."""
        return self._deal(key, state.left)

    def transition(
        self, state: CountRecallState, action: Array, drawn: Array, params: EnvParams
    ) -> tuple[Array, CountRecallState, Array, Array]:
        """Judge the answer, then show the next value and query."""
        right = clip_action(action, self.most + 1) == self.most - remaining(state.left[0], state.query)
        reward = jnp.where(right, 1.0, -1.0) / (self.num_cards - 1)
        observation, state = self._show(state.time + 1, drawn, state.left)
        return observation, state, reward, state.time >= self.num_cards - 1

    def render(self, state: CountRecallState, params: EnvParams | None = None) -> Array:
        """The value above, the query below."""
        return paint_cards(jnp.stack([state.value, state.query])[:, None], self.symbols)

    def action_space(self, params: EnvParams | None = None) -> Discrete:
        """From none to all cards of a symbol."""
        return Discrete(self.most + 1)

    def observation_space(self, params: EnvParams | None = None) -> Box:
        """A one-hot value and a one-hot query."""
        return Box(0.0, 1.0, (2 * self.symbols,))

    def horizon(self, params: Any = None) -> int:
        """One step for each card after the first."""
        return self.num_cards - 1

    def memory_length(self, params: Any = None) -> int:
        """The last count includes the first card."""
        return self.num_cards - 2
