"""RepeatPrevious: name the card shown a fixed number of steps ago."""

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

_SETTINGS = {"Easy": (1, 4), "Medium": (2, 32), "Hard": (3, 64)}


@struct.dataclass
class RepeatPreviousState(EnvState):
    """State of RepeatPrevious.

    Attributes:
        time: Completed steps; card number `time` is visible.
        recent: The suits of the last k cards, int32 `[k]`; card i is in slot `i % k`.
        left: Undealt cards of each suit and the suits before it (cumulative), int32 `[4]`.
    """

    recent: Array
    left: Array


class RepeatPrevious(Task[RepeatPreviousState, EnvParams]):
    """Name the suit of the card shown k-1 cards ago.

    N cards (52 times the number of decks) are dealt without replacement, one per step. The current card counts as
    the first, so with k = 4 the answer is the suit of three cards ago. Answers count once k cards were shown.

    * Observation: the suit of the current card, one-hot float32 `[4]`.
    * Action: a suit, `Discrete(4)`.
    * Reward: `1 / (N - k)` for the correct suit, `-1 / (N - k)` for a wrong one, 0 before k cards were shown.
    * Length: N - 1 steps, ended by termination.
    * Easy, Medium, Hard: 1, 2, 3 decks and k = 4, 32, 64.

    Source: Morad et al. (2023), POPGym: Benchmarking Partially Observable Reinforcement Learning,
    https://arxiv.org/abs/2303.01859.
    """

    optimal_return = 1.0

    def __init__(self, difficulty: str = "Easy", *, decks: int | None = None, k: int | None = None) -> None:
        """Create the task.

        Args:
            difficulty: "Easy", "Medium" or "Hard".
            decks: Number of decks; by default that of the difficulty.
            k: Which card to name, counting the current one as 1; by default that of the difficulty.

        Raises:
            TypeError: If `decks` or `k` is not an integer.
            ValueError: If `difficulty` is unknown, or `decks` or `k` is out of range.
        """
        default_decks, default_k = settings_for(difficulty, _SETTINGS)
        self.difficulty = difficulty
        self.decks = check("decks", default_decks if decks is None else decks, integer(1, MOST_DECKS))
        self.num_cards = DECK * self.decks
        self.k = check("k", default_k if k is None else k, integer(1, self.num_cards - 1))
        # Name any suit but the current one, which is slightly less likely because one of its cards is gone.
        other = (self.num_cards // SUITS) / (self.num_cards - 1)
        self.memoryless_return = 1.0 if self.k == 1 else 2 * other - 1

    @property
    def name(self) -> str:
        """Name of the environment."""
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
        # The oldest of the last k cards is in the slot of the next card.
        slot = time % self.k
        right = clip_action(action, SUITS) == state.recent[slot]
        sign = jnp.where(right, 1.0, -1.0)
        reward = jnp.where(time >= self.k, sign / (self.num_cards - self.k), 0.0)
        state = RepeatPreviousState(time=time, recent=state.recent.at[slot].set(suit), left=take(state.left, suit))
        return show(suit), state, reward, time >= self.num_cards - 1

    def render(self, state: RepeatPreviousState, params: EnvParams | None = None) -> Array:
        """The current card."""
        return paint_cards(state.recent[state.time % self.k][None, None], SUITS)

    def action_space(self, params: EnvParams | None = None) -> Discrete:
        """A suit."""
        return Discrete(SUITS)

    def observation_space(self, params: EnvParams | None = None) -> Box:
        """A one-hot suit."""
        return Box(0.0, 1.0, (SUITS,))

    def horizon(self, params: Any = None) -> int:
        """One step for each card after the first."""
        return self.num_cards - 1

    def memory_length(self, params: Any = None) -> int:
        """How many steps ago the card was shown."""
        return self.k - 1
