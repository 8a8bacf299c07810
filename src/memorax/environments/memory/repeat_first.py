"""RepeatFirst: name the first card, again and again."""

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

_SETTINGS = {"Easy": 1, "Medium": 8, "Hard": 16}


@struct.dataclass
class RepeatFirstState(EnvState):
    """State of RepeatFirst.

    Attributes:
        time: Completed steps; card number `time` is visible.
        first: The suit of the first card, int32.
        suit: The suit of the current card, int32.
        left: Undealt cards of each suit and the suits before it (cumulative), int32 `[4]`.
    """

    first: Array
    suit: Array
    left: Array


class RepeatFirst(Task[RepeatFirstState, EnvParams]):
    """Name the suit of the first card at every step.

    N cards (52 times the number of decks) are dealt without replacement, one per step; at the first step the answer is
    the current card.

    * Observation: the suit of the current card, one-hot float32 `[4]`.
    * Action: a suit, `Discrete(4)`.
    * Reward: `1 / (N - 1)` for the correct suit, `-1 / (N - 1)` for a wrong one.
    * Length: N - 1 steps, ended by termination.
    * Easy, Medium, Hard: 1, 8, 16 decks.

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
        # Name the current suit: correct at the first step, later as often as the first suit comes again.
        steps = self.num_cards - 1
        again = (self.num_cards // SUITS - 1) / steps
        self.memoryless_return = (1 + (steps - 1) * (2 * again - 1)) / steps

    @property
    def name(self) -> str:
        """Name of the environment."""
        return f"RepeatFirst{self.difficulty}"

    def draw_start(self, key: Key, params: EnvParams) -> Array:
        """Draw the suit of the first card."""
        return deal(key, full(self.decks))

    def start(self, drawn: Array, params: EnvParams) -> tuple[Array, RepeatFirstState]:
        """Show the first card."""
        suit = jnp.asarray(drawn, jnp.int32)
        zero = jnp.zeros((), jnp.int32)
        return show(suit), RepeatFirstState(time=zero, first=suit, suit=suit, left=take(full(self.decks), suit))

    def draw(self, key: Key, state: RepeatFirstState, params: EnvParams) -> Array:
        """Draw the suit of the next card."""
        return deal(key, state.left)

    def transition(
        self, state: RepeatFirstState, action: Array, drawn: Array, params: EnvParams
    ) -> tuple[Array, RepeatFirstState, Array, Array]:
        """Judge the answer, then show the next card."""
        suit = jnp.asarray(drawn, jnp.int32)
        time = state.time + 1
        right = clip_action(action, SUITS) == state.first
        reward = jnp.where(right, 1.0, -1.0) / (self.num_cards - 1)
        state = RepeatFirstState(time=time, first=state.first, suit=suit, left=take(state.left, suit))
        return show(suit), state, reward, time >= self.num_cards - 1

    def render(self, state: RepeatFirstState, params: EnvParams | None = None) -> Array:
        """The first card and the current one."""
        return paint_cards(jnp.stack([state.first, state.suit])[None], SUITS)

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
        """The last answer comes this many steps after the first card."""
        return self.num_cards - 2
