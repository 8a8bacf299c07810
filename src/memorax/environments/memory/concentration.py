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
        left: How many cards of each symbol have not been drawn, int32 `[symbols]`.
        up: Which cards are part of a found pair, bool `[cards]`.
        open: The card that waits for its partner, int32; the number of cards where none does.
    """

    board: Array
    left: Array
    up: Array
    open: Array


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
        n = self.num_cards
        down, up = jnp.full((n,), self.symbols, jnp.int32), jnp.zeros((n,), bool)
        left, zero = full(self.decks, self.symbols), jnp.zeros((), jnp.int32)
        return self._observe(down), ConcentrationState(time=zero, board=down, left=left, up=up, open=zero + n)

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
        turned, waiting = number == card, number == state.open
        face = state.board[card]
        new = face == self.symbols
        symbol = jnp.where(new, jnp.asarray(drawn, jnp.int32), face)
        board = jnp.where(turned, symbol, state.board)
        left = jnp.where(new, take(state.left, symbol), state.left)
        second = state.open < self.num_cards
        touched = state.up[card]
        match = second & ~touched & (card != state.open) & (state.board[state.open] == symbol)
        observation = self._observe(jnp.where(state.up | turned | waiting, board, self.symbols))
        turn_ends = second | touched
        miss = -jnp.where(touched, 1.0 + second, 2.0) / self.max_steps
        reward = jnp.where(turn_ends, jnp.where(match, 2.0 / self.num_cards, miss), 0.0)
        up = state.up | (match & (turned | waiting))
        after = ConcentrationState(
            time=state.time + 1, board=board, left=left, up=up, open=jnp.where(turn_ends, self.num_cards, card)
        )
        return observation, after, reward, jnp.all(up)

    def is_truncated(self, state: ConcentrationState, params: EnvParams) -> Array:
        """Whether the time is up."""
        return state.time >= self.max_steps

    def render(self, state: ConcentrationState, params: EnvParams | None = None) -> Array:
        """The cards, thirteen a row; found pairs and the card that waits for its partner are face up."""
        visible = state.up | (jnp.arange(self.num_cards) == state.open)
        return paint_cards(jnp.where(visible, state.board, self.symbols).reshape(-1, 13), self.symbols, zoom=3)

    def action_space(self, params: EnvParams | None = None) -> Discrete:
        """A card."""
        return Discrete(self.num_cards)

    def observation_space(self, params: EnvParams | None = None) -> Box:
        """One-hot symbols."""
        return Box(0.0, 1.0, (self.num_cards * (self.symbols + 1),))

    def horizon(self, params: Any = None) -> int:
        """The time limit."""
        return self.max_steps
