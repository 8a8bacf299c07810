"""Autoencode: watch a deck of cards, then recall it in reverse order."""

from typing import Any

import jax.numpy as jnp
from flax import struct

from memorax.core.checks import check, integer
from memorax.core.spaces import Box, Discrete
from memorax.core.types import Array, Key
from memorax.environments.environment import EnvParams, EnvState
from memorax.environments.memory.parts.deck import DECK, MOST_DECKS, SUITS, deal, full, show, take
from memorax.environments.memory.parts.picture import paint_cards
from memorax.environments.memory.parts.task import Task, clip_action, settings_for

_SETTINGS = {"Easy": 1, "Medium": 2, "Hard": 3}
_PACKED = 16  # cards in a word


@struct.dataclass
class AutoencodeState(EnvState):
    """State of Autoencode.

    Attributes:
        time: Completed steps; while watching, card number `time` is visible.
        cards: The suits in the order of dealing, two bits each from the lowest, 0 where none was dealt yet; int32
            `[cards / 16]`, rounded up. Packed, because the cards are copied in every step.
        left: Undealt cards of each suit and the suits before it (cumulative), int32 `[4]`.
    """

    cards: Array
    left: Array


class Autoencode(Task[AutoencodeState, EnvParams]):
    """Watch all cards of a deck and name their suits in reverse order.

    N cards (52 times the number of decks) are dealt without replacement, one per step; actions are ignored meanwhile.
    The last card comes with the request to answer, starting with that card; no card is shown after it.

    * Observation: float32 `[6]`: one-hot of the phase (answer, watch), one-hot of the suit of the current card; once
      the first answer is given, always answer and suit 0.
    * Action: a suit, `Discrete(4)`.
    * Reward: `1 / N` for the correct suit, `-1 / N` for a wrong one, 0 while watching.
    * Length: 2N - 1 steps, ended by termination.
    * Easy, Medium, Hard: 1, 2, 3 decks.

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
        default_decks = settings_for(difficulty, _SETTINGS)
        self.difficulty = difficulty
        self.decks = check("decks", default_decks if decks is None else decks, integer(1, MOST_DECKS))
        self.num_cards = DECK * self.decks
        # The first answer can be seen; afterwards nothing can, and suit 0 is right a quarter of the time.
        self.memoryless_return = (3 - self.num_cards) / (2 * self.num_cards)

    @property
    def name(self) -> str:
        """Name of the environment."""
        return f"Autoencode{self.difficulty}"

    def draw_start(self, key: Key, params: EnvParams) -> Array:
        """Draw the suit of the first card."""
        return deal(key, full(self.decks))

    def start(self, drawn: Array, params: EnvParams) -> tuple[Array, AutoencodeState]:
        """Show the first card."""
        suit = jnp.asarray(drawn, jnp.int32)
        cards = self._store(jnp.zeros((-(-self.num_cards // _PACKED),), jnp.int32), 0, suit)
        state = AutoencodeState(time=jnp.zeros((), jnp.int32), cards=cards, left=take(full(self.decks), suit))
        return self._observe(jnp.ones((), bool), suit), state

    def _observe(self, watch: Array, suit: Array) -> Array:
        return jnp.concatenate([show(watch.astype(jnp.int32), 2), show(suit)])

    def _store(self, cards: Array, place: Array | int, suit: Array) -> Array:
        """Store a card in an empty place; suit 0 changes nothing."""
        word, number = jnp.divmod(place, _PACKED)
        return cards | jnp.where(jnp.arange(cards.shape[0]) == word, suit << 2 * number, 0)

    def _suits(self, cards: Array, places: Array) -> Array:
        """The suits of the cards at these places in the order of dealing."""
        word, number = jnp.divmod(places, _PACKED)
        return cards[word] >> 2 * number & 3

    def draw(self, key: Key, state: AutoencodeState, params: EnvParams) -> Array:
        """Draw the suit of the next card; not used after the last card."""
        return deal(key, state.left)

    def transition(
        self, state: AutoencodeState, action: Array, drawn: Array, params: EnvParams
    ) -> tuple[Array, AutoencodeState, Array, Array]:
        """Show the next card or, when all were shown, judge the answer."""
        last, time = self.num_cards - 1, state.time + 1
        watching = time <= last
        suit = jnp.where(watching, jnp.asarray(drawn, jnp.int32), 0)
        right = clip_action(action, SUITS) == self._suits(state.cards, jnp.clip(2 * last - state.time, 0, last))
        reward = jnp.where(watching, 0.0, jnp.where(right, 1.0, -1.0) / self.num_cards)
        left = jnp.where(watching, take(state.left, suit), state.left)
        state = AutoencodeState(time=time, cards=self._store(state.cards, time, suit), left=left)
        return self._observe(time < last, suit), state, reward, time > 2 * last

    def render(self, state: AutoencodeState, params: EnvParams | None = None) -> Array:
        """The cards dealt so far, thirteen per row; those already answered are face down again."""
        number = jnp.arange(self.num_cards)
        asked = jnp.maximum(state.time - self.num_cards + 1, 0)
        dealt = (number <= state.time) & (number < self.num_cards - asked)
        return paint_cards(jnp.where(dealt, self._suits(state.cards, number), -1).reshape(-1, 13), SUITS, zoom=3)

    def action_space(self, params: EnvParams | None = None) -> Discrete:
        """A suit."""
        return Discrete(SUITS)

    def observation_space(self, params: EnvParams | None = None) -> Box:
        """A one-hot phase and a one-hot suit."""
        return Box(0.0, 1.0, (2 + SUITS,))

    def horizon(self, params: Any = None) -> int:
        """One step for each card after the first, then one for each answer."""
        return 2 * self.num_cards - 1

    def memory_length(self, params: Any = None) -> int:
        """The first card is recalled last."""
        return 2 * self.num_cards - 2
