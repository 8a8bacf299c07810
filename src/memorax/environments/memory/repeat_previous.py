"""RepeatPrevious: name the card shown a fixed number of steps ago."""

from typing import Any

import jax.numpy as jnp
from flax import struct

from memorax.core.spaces import Box, Discrete
from memorax.core.types import Array, Key
from memorax.environments.environment import EnvParams, EnvState
from memorax.environments.memory.deck import DECK, SUITS, deal, full, show, take
from memorax.environments.memory.picture import paint_cards
from memorax.environments.memory.task import Task, choose, clipped, whole

_SETTINGS = {"Easy": (1, 4), "Medium": (2, 32), "Hard": (3, 64)}


@struct.dataclass
class RepeatPreviousState(EnvState):
    """State of RepeatPrevious.

    Attributes:
        time: Completed steps; card number `time` is on show.
        recent: The suits of the last k cards, int32 `[k]`; card i lies in slot `i % k`.
        left: How many cards are left of each suit and the suits before it, int32 `[4]`.
    """

    recent: Array
    left: Array


class RepeatPrevious(Task[RepeatPreviousState, EnvParams]):
    """Name the suit of the card shown k-1 cards ago.

    N cards (52 times the number of decks) are dealt without replacement, one a step. The current card counts as the
    first, so with k = 4 the answer is the suit three cards back. Nothing is asked while fewer than k cards were seen.

    * Observation: the suit of the current card, one-hot float32 `[4]`.
    * Action: a suit, `Discrete(4)`.
    * Reward: `1 / (N - k)` for the right suit, the negative of it for a wrong one, 0 while nothing is asked.
    * Length: N - 1 steps, ended by termination.
    * Easy, Medium, Hard: 1, 2, 3 decks and k = 4, 32, 64.

    Source: Morad et al. (2023), POPGym: Benchmarking Partially Observable Reinforcement Learning,
    https://arxiv.org/abs/2303.01859.
    """

    optimal_return = 1.0

    def __init__(self, difficulty: str = "Easy", *, decks: int | None = None, k: int | None = None) -> None:
        """Lay out the task.

        Args:
            difficulty: "Easy", "Medium" or "Hard".
            decks: Number of decks, in place of the one of the difficulty.
            k: Which card is asked for, counting the current one as 1, in place of the one of the difficulty.

        Raises:
            TypeError: If `decks` or `k` is no integer.
            ValueError: If `difficulty` is unknown, or `decks` or `k` is out of range.
        """
        default_decks, default_k = choose(difficulty, _SETTINGS)
        self.difficulty = difficulty
        self.decks = whole("decks", default_decks if decks is None else decks)
        self.num_cards = DECK * self.decks
        self.k = whole("k", default_k if k is None else k, most=self.num_cards - 1)
        # Any suit but the current one: it is slightly more likely than chance, since its card is missing.
        other = (self.num_cards // SUITS) / (self.num_cards - 1)
        self.memoryless_return = 1.0 if self.k == 1 else 2 * other - 1

    @property
    def name(self) -> str:
        """What the environment is called."""
        return f"RepeatPrevious{self.difficulty}"

    def draw_start(self, key: Key, params: EnvParams) -> Array:
        """Draw the suit of the first card."""
        return deal(key, full(self.decks))

    def start(self, drawn: Array, params: EnvParams) -> tuple[Array, RepeatPreviousState]:
        """Show the first card."""
        suit = jnp.asarray(drawn, jnp.int32)
        recent = jnp.zeros((self.k,), jnp.int32).at[0].set(suit)
        state = RepeatPreviousState(time=jnp.zeros((), jnp.int32), recent=recent, left=take(full(self.decks), suit))
        return show(suit), state

    def draw(self, key: Key, state: RepeatPreviousState, params: EnvParams) -> Array:
        """Draw the suit of the next card."""
        return deal(key, state.left)

    def transition(
        self, state: RepeatPreviousState, action: Array, drawn: Array, params: EnvParams
    ) -> tuple[Array, RepeatPreviousState, Array, Array]:
        """Judge the answer, then show the next card."""
        suit = jnp.asarray(drawn, jnp.int32)
        time = state.time + 1
        # The oldest of the last k cards lies where the next card goes.
        slot = time % self.k
        right = clipped(action, SUITS) == state.recent[slot]
        sign = jnp.where(right, 1.0, -1.0)
        reward = jnp.where(time >= self.k, sign / (self.num_cards - self.k), 0.0)
        state = RepeatPreviousState(time=time, recent=state.recent.at[slot].set(suit), left=take(state.left, suit))
        return show(suit), state, reward, time >= self.num_cards - 1

    def render(self, state: RepeatPreviousState, params: EnvParams | None = None) -> Array:
        """The card on show."""
        return paint_cards(state.recent[state.time % self.k][None, None], SUITS)

    def action_space(self, params: EnvParams | None = None) -> Discrete:
        """A suit."""
        return Discrete(SUITS)

    def observation_space(self, params: EnvParams | None = None) -> Box:
        """A one-hot suit."""
        return Box(0.0, 1.0, (SUITS,))

    def horizon(self, params: Any = None) -> int:
        """One step a card after the first."""
        return self.num_cards - 1

    def memory_length(self, params: Any = None) -> int:
        """How many steps ago the card was shown."""
        return self.k - 1
