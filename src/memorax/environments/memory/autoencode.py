"""Autoencode: watch a deck, then name its cards backwards."""

from typing import Any

import jax.numpy as jnp
from flax import struct

from memorax.core.spaces import Box, Discrete
from memorax.core.types import Array, Key
from memorax.environments.environment import EnvParams, EnvState
from memorax.environments.memory.deck import DECK, SUITS, deal, full, show, take
from memorax.environments.memory.picture import paint_cards
from memorax.environments.memory.task import Task, choose, clipped, whole

_SETTINGS = {"Easy": 1, "Medium": 2, "Hard": 3}
_PACKED = 16  # cards in a word


@struct.dataclass
class AutoencodeState(EnvState):
    """State of Autoencode.

    Attributes:
        time: Completed steps; while watching, card number `time` is on show.
        cards: The suits in the order of dealing, two bits each, from the lowest on, 0 where none was dealt yet; int32
            `[cards / 16]`, rounded up. The episode's cards are copied in every step: packed, there is little to copy.
        left: How many cards are left of each suit and the suits before it, int32 `[4]`.
    """

    cards: Array
    left: Array


class Autoencode(Task[AutoencodeState, EnvParams]):
    """Watch all cards of a deck and name their suits in reverse order.

    N cards (52 times the number of decks) are dealt without replacement, one a step, and whatever is done meanwhile
    counts for nothing. The last of them comes with the request to answer, beginning with that card; from then on
    nothing is shown any more.

    * Observation: float32 `[6]`: one-hot of the phase (answer, watch), one-hot of the suit of the current card; once
      the first answer is given, always answer and suit 0.
    * Action: a suit, `Discrete(4)`.
    * Reward: `1 / N` for the right suit, the negative of it for a wrong one, 0 while watching.
    * Length: 2N - 1 steps, ended by termination.
    * Easy, Medium, Hard: 1, 2, 3 decks.

    Source: Morad et al. (2023), POPGym: Benchmarking Partially Observable Reinforcement Learning,
    https://arxiv.org/abs/2303.01859.
    """

    optimal_return = 1.0

    def __init__(self, difficulty: str = "Easy", *, decks: int | None = None) -> None:
        """Lay out the task.

        Args:
            difficulty: "Easy", "Medium" or "Hard".
            decks: Number of decks, in place of the one of the difficulty.

        Raises:
            TypeError: If `decks` is no integer.
            ValueError: If `difficulty` is unknown or `decks` is below 1.
        """
        default_decks = choose(difficulty, _SETTINGS)
        self.difficulty = difficulty
        self.decks = whole("decks", default_decks if decks is None else decks)
        self.num_cards = DECK * self.decks
        # The first answer can be seen; afterwards nothing can, and suit 0 is right a quarter of the time.
        self.memoryless_return = (3 - self.num_cards) / (2 * self.num_cards)

    @property
    def name(self) -> str:
        """What the environment is called."""
        return f"Autoencode{self.difficulty}"

    def draw_start(self, key: Key, params: EnvParams) -> Array:
        """Draw the suit of the first card."""
        return deal(key, full(self.decks))

    def start(self, drawn: Array, params: EnvParams) -> tuple[Array, AutoencodeState]:
        """Show the first card."""
        suit = jnp.asarray(drawn, jnp.int32)
        cards = self._lay(jnp.zeros((-(-self.num_cards // _PACKED),), jnp.int32), 0, suit)
        state = AutoencodeState(time=jnp.zeros((), jnp.int32), cards=cards, left=take(full(self.decks), suit))
        return self._observe(jnp.ones((), bool), suit), state

    def _observe(self, watch: Array, suit: Array) -> Array:
        return jnp.concatenate([show(watch.astype(jnp.int32), 2), show(suit)])

    def _lay(self, cards: Array, place: Array | int, suit: Array) -> Array:
        """Put a card where none was dealt yet; suit 0 changes nothing."""
        word, number = jnp.divmod(place, _PACKED)
        return cards | jnp.where(jnp.arange(cards.shape[0]) == word, suit << 2 * number, 0)

    def _suits(self, cards: Array, places: Array) -> Array:
        """The suits of the cards that were dealt as number so and so."""
        word, number = jnp.divmod(places, _PACKED)
        return cards[word] >> 2 * number & 3

    def draw(self, key: Key, state: AutoencodeState, params: EnvParams) -> Array:
        """Draw the suit of the next card; what is drawn after the last one is not used."""
        return deal(key, state.left)

    def transition(
        self, state: AutoencodeState, action: Array, drawn: Array, params: EnvParams
    ) -> tuple[Array, AutoencodeState, Array, Array]:
        """Show the next card or, when all were shown, judge the answer."""
        last, time = self.num_cards - 1, state.time + 1
        watching = time <= last
        suit = jnp.where(watching, jnp.asarray(drawn, jnp.int32), 0)
        right = clipped(action, SUITS) == self._suits(state.cards, jnp.clip(2 * last - state.time, 0, last))
        reward = jnp.where(watching, 0.0, jnp.where(right, 1.0, -1.0) / self.num_cards)
        left = jnp.where(watching, take(state.left, suit), state.left)
        state = AutoencodeState(time=time, cards=self._lay(state.cards, time, suit), left=left)
        return self._observe(time < last, suit), state, reward, time > 2 * last

    def render(self, state: AutoencodeState, params: EnvParams | None = None) -> Array:
        """The cards dealt so far, thirteen a row; those already asked for are turned over again."""
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
        """One step a card after the first, then one a card."""
        return 2 * self.num_cards - 1

    def memory_length(self, params: Any = None) -> int:
        """The first card is asked for last."""
        return 2 * self.num_cards - 2
