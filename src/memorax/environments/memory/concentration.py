"""Concentration: find the pairs among cards that lie face down."""

import math
from typing import Any

import jax.numpy as jnp
from flax import struct

from memorax.core.spaces import Box, Discrete
from memorax.core.types import Array, Key
from memorax.environments.environment import EnvParams, EnvState
from memorax.environments.memory.parts.deck import COLORS, DECK, RANKS, deal, full, show, take
from memorax.environments.memory.parts.picture import paint_cards
from memorax.environments.memory.parts.task import Task, clip_action, settings_for

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
        open: The first card of the current turn, int32; the number of cards where there is none.
        found: Number of cards in found pairs, int32.
    """

    board: Array
    left: Array
    faces: Array
    open: Array
    found: Array


class Concentration(Task[ConcentrationState, EnvParams]):
    """Turn over two cards at a time and find all pairs of equal symbols.

    All cards start face down. The first card of a turn stays visible until the second is turned over; a pair stays face
    up, cards that differ are visible together for one step and then face down again. Solvable only with the previous
    action, which the agents' default networks are given.

    * Observation: symbol of each card or face down (last class), one-hot each, float32 `[N (K + 1)]`; cards turned
      over in the step are visible in it.
    * Action: the card to turn over, `Discrete(N)`.
    * Reward: `2 / N` for a pair, `-2 / T` for a second card that makes none, `-1 / T` for choosing a card that is
      face up (`-2 / T` as second card, which ends the turn), 0 for the first card.
    * Length: up to T = ceil(2N - N / (2N - 1)) steps; terminated when all cards are up, truncated at T.
    * Easy, Medium, Hard: N = 52, 104, 52 cards of K = 2 colors, 2 colors, 13 ranks.

    Source: Morad et al. (2023), POPGym: Benchmarking Partially Observable Reinforcement Learning,
    https://arxiv.org/abs/2303.01859.
    """

    def __init__(self, difficulty: str = "Easy") -> None:
        """Create the task.

        Args:
            difficulty: "Easy", "Medium" or "Hard".

        Raises:
            ValueError: If `difficulty` is unknown.
        """
        self.decks, self.symbols = settings_for(difficulty, _SETTINGS)
        self.difficulty = difficulty
        n = self.num_cards = DECK * self.decks
        self.max_steps = math.ceil(2 * n - n / (2 * n - 1))

    @property
    def name(self) -> str:
        """Name of the environment."""
        return f"Concentration{self.difficulty}"

    def draw_start(self, key: Key, params: EnvParams) -> tuple[()]:
        """Draw nothing: symbols are drawn when cards are first turned over."""
        return ()

    def start(self, drawn: Any, params: EnvParams) -> tuple[Array, ConcentrationState]:
        """Start with all cards face down."""
        down, zero = jnp.full((self.num_cards,), self.symbols, jnp.int32), jnp.zeros((), jnp.int32)
        left = full(self.decks, self.symbols)
        state = ConcentrationState(zero, board=down, left=left, faces=down, open=zero + self.num_cards, found=zero)
        return self._observe(down), state

    def _observe(self, faces: Array) -> Array:
        return show(faces, self.symbols + 1).reshape(-1)

    def draw(self, key: Key, state: ConcentrationState, params: EnvParams) -> Array:
        """Draw a symbol for the chosen card, used if it is turned over for the first time."""
        return deal(key, state.left)

    def transition(
        self, state: ConcentrationState, action: Array, drawn: Array, params: EnvParams
    ) -> tuple[Array, ConcentrationState, Array, Array]:
        """Turn over a card."""
        card, number = clip_action(action, self.num_cards), jnp.arange(self.num_cards)
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
        """Whether the time limit is reached."""
        return state.time >= self.max_steps

    def render(self, state: ConcentrationState, params: EnvParams | None = None) -> Array:
        """The cards, thirteen per row; found pairs and the first card of a turn are face up."""
        return paint_cards(state.faces.reshape(-1, 13), self.symbols, zoom=3)

    def action_space(self, params: EnvParams | None = None) -> Discrete:
        """A card."""
        return Discrete(self.num_cards)

    def observation_space(self, params: EnvParams | None = None) -> Box:
        """One-hot symbols."""
        return Box(0.0, 1.0, (self.num_cards * (self.symbols + 1),))

    def horizon(self, params: Any = None) -> int:
        """The time limit, in steps."""
        return self.max_steps
