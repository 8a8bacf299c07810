"""HigherLower: guess whether the next card is higher, by counting cards."""

from typing import Any

import jax.numpy as jnp
from flax import struct

from memorax.core.checks import check, integer
from memorax.core.spaces import Box, Discrete
from memorax.core.types import Array, Key
from memorax.environments.environment import EnvParams, EnvState
from memorax.environments.memory.parts.deck import DECK, MOST_DECKS, RANKS, deal, full, show, take
from memorax.environments.memory.parts.picture import paint_cards
from memorax.environments.memory.parts.task import Task, clip_action, settings_for

_SETTINGS = {"Easy": 1, "Medium": 2, "Hard": 3}
_OPTIMAL = {1: 0.5275997, 2: 0.5161031, 3: 0.5114591}
"""By decks: the mean over cards and times of |higher - lower| / undealt, where both count undealt cards."""


@struct.dataclass
class HigherLowerState(EnvState):
    """State of HigherLower.

    Attributes:
        time: Completed steps; card number `time` is visible.
        rank: Rank of the current card, int32.
        left: Undealt cards of each rank and the ranks before it (cumulative), int32 `[13]`.
    """

    rank: Array
    left: Array


class HigherLower(Task[HigherLowerState, EnvParams]):
    """Guess whether the next card is higher or lower than the current one.

    N cards (52 times the number of decks) are dealt without replacement, one per step. Counting the dealt cards
    improves the guesses near the end, but not by much: memory is worth a few hundredths.

    * Observation: the rank of the current card, one-hot float32 `[13]`.
    * Action: higher or lower, `Discrete(2)`.
    * Reward: `1 / N` for the correct guess, `-1 / N` for a wrong one, 0 where the ranks are equal.
    * Length: N - 1 steps, ended by termination.
    * Easy, Medium, Hard: 1, 2, 3 decks.

    Source: Morad et al. (2023), POPGym: Benchmarking Partially Observable Reinforcement Learning,
    https://arxiv.org/abs/2303.01859.
    """

    # Guess the side with more ranks: |12 - 2 rank| / 13 on average, whatever the number of decks.
    memoryless_return = 84 / 169

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
        self.optimal_return = _OPTIMAL.get(self.decks)

    @property
    def name(self) -> str:
        """Name of the environment."""
        return f"HigherLower{self.difficulty}"

    def draw_start(self, key: Key, params: EnvParams) -> Array:
        """Draw the rank of the first card."""
        return deal(key, full(self.decks, RANKS))

    def start(self, drawn: Array, params: EnvParams) -> tuple[Array, HigherLowerState]:
        """Show the first card."""
        return self._show(jnp.zeros((), jnp.int32), drawn, full(self.decks, RANKS))

    def _show(self, time: Array, drawn: Array, left: Array) -> tuple[Array, HigherLowerState]:
        rank = jnp.asarray(drawn, jnp.int32)
        return show(rank, RANKS), HigherLowerState(time=time, rank=rank, left=take(left, rank))

    def draw(self, key: Key, state: HigherLowerState, params: EnvParams) -> Array:
        """Draw the rank of the next card."""
        return deal(key, state.left)

    def transition(
        self, state: HigherLowerState, action: Array, drawn: Array, params: EnvParams
    ) -> tuple[Array, HigherLowerState, Array, Array]:
        """Deal the next card and judge the guess."""
        observation, after = self._show(state.time + 1, drawn, state.left)
        guess = jnp.where(clip_action(action, 2) == 0, 1, -1)
        reward = guess * jnp.sign(after.rank - state.rank) / self.num_cards
        return observation, after, reward, after.time >= self.num_cards - 1

    def render(self, state: HigherLowerState, params: EnvParams | None = None) -> Array:
        """The current card."""
        return paint_cards(state.rank[None, None], RANKS)

    def action_space(self, params: EnvParams | None = None) -> Discrete:
        """Higher, lower."""
        return Discrete(2)

    def observation_space(self, params: EnvParams | None = None) -> Box:
        """A one-hot rank."""
        return Box(0.0, 1.0, (RANKS,))

    def horizon(self, params: Any = None) -> int:
        """One step for each card after the first."""
        return self.num_cards - 1
