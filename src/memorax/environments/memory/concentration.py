"""Concentration: find the pairs among cards that lie face down."""

import math
from typing import Any

import jax.numpy as jnp
from flax import struct

from memorax.core.spaces import Box, Discrete
from memorax.core.types import Array, Key
from memorax.environments.environment import EnvParams, EnvState
from memorax.environments.memory.deck import COLORS, DECK, RANKS, deal, full, show, take
from memorax.environments.memory.picture import paint_cards
from memorax.environments.memory.task import Task, choose, clipped

_SETTINGS = {"Easy": (1, COLORS), "Medium": (2, COLORS), "Hard": (1, RANKS)}


@struct.dataclass
class ConcentrationState(EnvState):
    """State of Concentration.

    Attributes:
        time: Completed steps.
        board: Symbol of each card that has ever been turned, int32 `[cards]`; the number of symbols for the others,
            whose symbols are drawn when they are first turned.
        left: How many cards are left of each symbol and the symbols before it, int32 `[symbols]`.
        faces: Symbol of each card that lies face up, int32 `[cards]`; the number of symbols for the others.
        open: The card that waits for its partner, int32; the number of cards where none does.
        found: How many cards are part of a found pair, int32.
    """

    board: Array
    left: Array
    faces: Array
    open: Array
    found: Array


class Concentration(Task[ConcentrationState, EnvParams]):
    """Turn two cards at a time and find all pairs of equal symbols.

    All cards lie face down. The first card of a turn stays visible until the second is turned; a pair stays up,
    cards that differ are seen once together and then lie face down again. Solvable only with the previous action,
    which the agents' default networks are given.

    * Observation: symbol of each card or face down (last), one-hot each, float32 `[N (K + 1)]`; cards turned in the
      step are visible in it.
    * Action: the card to turn, `Discrete(N)`.
    * Reward: `2 / N` for a pair, `-2 / T` for a second card that makes none, `-1 / T` for touching a card that is
      up (`-2 / T` as second card, which ends the turn), 0 for the first card.
    * Length: up to T = ceil(2N - N / (2N - 1)) steps; terminated when all cards are up, truncated at T.
    * Easy, Medium, Hard: N = 52, 104, 52 cards of K = 2 colors, 2 colors, 13 ranks.

    Source: Morad et al. (2023), POPGym: Benchmarking Partially Observable Reinforcement Learning,
    https://arxiv.org/abs/2303.01859.
    """

    def __init__(self, difficulty: str = "Easy") -> None:
        """Lay out the cards.

        Args:
            difficulty: "Easy", "Medium" or "Hard".

        Raises:
            ValueError: If `difficulty` is unknown.
        """
        self.decks, self.symbols = choose(difficulty, _SETTINGS)
        self.difficulty = difficulty
        n = self.num_cards = DECK * self.decks
        self.max_steps = math.ceil(2 * n - n / (2 * n - 1))

    @property
    def name(self) -> str:
        """What the environment is called."""
        return f"Concentration{self.difficulty}"

    def draw_start(self, key: Key, params: EnvParams) -> tuple[()]:
        """Draw nothing: symbols are drawn as cards are turned."""
        return ()

    def start(self, drawn: Any, params: EnvParams) -> tuple[Array, ConcentrationState]:
        """Lay all cards face down."""
        down, zero = jnp.full((self.num_cards,), self.symbols, jnp.int32), jnp.zeros((), jnp.int32)
        left = full(self.decks, self.symbols)
        state = ConcentrationState(zero, board=down, left=left, faces=down, open=zero + self.num_cards, found=zero)
        return self._observe(down), state

    def _observe(self, faces: Array) -> Array:
        return show(faces, self.symbols + 1).reshape(-1)

    def draw(self, key: Key, state: ConcentrationState, params: EnvParams) -> Array:
        """Draw a symbol for the card to turn, used if it is turned for the first time."""
        return deal(key, state.left)

    def transition(
        self, state: ConcentrationState, action: Array, drawn: Array, params: EnvParams
    ) -> tuple[Array, ConcentrationState, Array, Array]:
        """Turn a card."""
        card, number = clipped(action, self.num_cards), jnp.arange(self.num_cards)
        known = state.board[card]
        new = known == self.symbols
        symbol = jnp.where(new, jnp.asarray(drawn, jnp.int32), known)
        shown = state.faces.at[card].set(symbol)
        second, again = state.open < self.num_cards, card == state.open
        touched = (state.faces[card] < self.symbols) & ~again
        match = second & ~touched & ~again & (state.faces[state.open] == symbol)
        turn_ends = second | touched
        miss = -jnp.where(touched, 1.0 + second, 2.0) / self.max_steps
        reward = jnp.where(turn_ends, jnp.where(match, 2.0 / self.num_cards, miss), 0.0)
        hidden = ((number == card) & ~touched) | (number == state.open)
        after = ConcentrationState(
            time=state.time + 1,
            board=state.board.at[card].set(symbol),
            left=jnp.where(new, take(state.left, symbol), state.left),
            faces=jnp.where(hidden & turn_ends & ~match, self.symbols, shown),
            open=jnp.where(turn_ends, self.num_cards, card),
            found=state.found + 2 * match,
        )
        return self._observe(shown), after, reward, after.found >= self.num_cards

    def is_truncated(self, state: ConcentrationState, params: EnvParams) -> Array:
        """Whether the time is up."""
        return state.time >= self.max_steps

    def render(self, state: ConcentrationState, params: EnvParams | None = None) -> Array:
        """The cards, thirteen a row; found pairs and the card that waits for its partner are face up."""
        return paint_cards(state.faces.reshape(-1, 13), self.symbols, zoom=3)

    def action_space(self, params: EnvParams | None = None) -> Discrete:
        """A card."""
        return Discrete(self.num_cards)

    def observation_space(self, params: EnvParams | None = None) -> Box:
        """One-hot symbols."""
        return Box(0.0, 1.0, (self.num_cards * (self.symbols + 1),))

    def horizon(self, params: Any = None) -> int:
        """The time limit."""
        return self.max_steps
