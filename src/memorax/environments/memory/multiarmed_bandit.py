"""MultiarmedBandit: find the best of many Bernoulli arms."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from memorax.core.spaces import Box, Discrete
from memorax.core.types import Array, Key
from memorax.environments.environment import EnvParams, EnvState
from memorax.environments.memory.parts.picture import BLACK, GRAY, GREEN, LIGHT, characters, paint
from memorax.environments.memory.parts.prng import uniform
from memorax.environments.memory.parts.task import Task, clip_action, settings_for

_SETTINGS = {"Easy": (10, 200), "Medium": (20, 400), "Hard": (30, 600)}
_UNKNOWN = -1.0


@struct.dataclass
class MultiarmedBanditParams(EnvParams):
    """Parameters of MultiarmedBandit.

    Attributes:
        max_steps_in_episode: Pulls in an episode, int32.
    """

    max_steps_in_episode: Array | np.int32


@struct.dataclass
class MultiarmedBanditState(EnvState):
    """State of MultiarmedBandit.

    Attributes:
        time: Completed steps.
        odds: Probability that each arm pays, float32 `[arms]`; negative for arms that were never pulled, whose
            probability is drawn at their first pull.
    """

    odds: Array


class MultiarmedBandit(Task[MultiarmedBanditState, MultiarmedBanditParams]):
    """Pull Bernoulli arms whose probabilities are drawn anew for every episode.

    Each arm pays with a probability drawn uniformly from [0, 1). Solvable only with the previous action, which the
    agents' default networks are given: the observation does not say which arm paid. Always pulling the best of the A
    arms would return 2 A / (A + 1) - 1 on average (0.82, 0.90, 0.94), pulling at random 0.

    * Observation: whether the last pull paid, float32 `[1]`; 0 at the start.
    * Action: an arm, `Discrete(A)`.
    * Reward: `1 / T` if it pays, otherwise `-1 / T`.
    * Length: T steps, ended by truncation.
    * Easy, Medium, Hard: A = 10, 20, 30 and T = 200, 400, 600.

    Source: Morad et al. (2023), POPGym: Benchmarking Partially Observable Reinforcement Learning,
    https://arxiv.org/abs/2303.01859.
    """

    def __init__(self, difficulty: str = "Easy") -> None:
        """Create the bandit.

        Args:
            difficulty: "Easy", "Medium" or "Hard".

        Raises:
            ValueError: If `difficulty` is unknown.
        """
        self.num_arms, self.max_steps = settings_for(difficulty, _SETTINGS)
        self.difficulty = difficulty

    @property
    def name(self) -> str:
        """Name of the environment."""
        return f"MultiarmedBandit{self.difficulty}"

    @property
    def default_params(self) -> MultiarmedBanditParams:
        """Parameters that `reset` and `step` use by default."""
        return MultiarmedBanditParams(max_steps_in_episode=np.int32(self.max_steps))

    def draw_start(self, key: Key, params: MultiarmedBanditParams) -> Array:
        """Draw nothing yet: probabilities are drawn at first pulls. All unknown, float32 `[arms]`."""
        return jnp.full((self.num_arms,), _UNKNOWN, jnp.float32)

    def start(self, drawn: Array, params: MultiarmedBanditParams) -> tuple[Array, MultiarmedBanditState]:
        """Start with all arms unknown."""
        state = MultiarmedBanditState(time=jnp.zeros((), jnp.int32), odds=jnp.asarray(drawn, jnp.float32))
        return jnp.zeros((1,), jnp.float32), state

    def draw(self, key: Key, state: MultiarmedBanditState, params: MultiarmedBanditParams) -> Array:
        """Draw two numbers from [0, 1), float32 `[2]`.

        An arm pays if its probability is larger than the first; the second is the probability of an arm that is pulled
        for the first time.
        """
        return uniform(key, (2,))

    def transition(
        self, state: MultiarmedBanditState, action: Array, drawn: Array, params: MultiarmedBanditParams
    ) -> tuple[Array, MultiarmedBanditState, Array, Array]:
        """Pull an arm."""
        share, fresh = jnp.asarray(drawn, jnp.float32)
        pulled = jnp.arange(self.num_arms) == clip_action(action, self.num_arms)
        # Its probability, as bits: XLA fuses sums of integers into what comes before, sums of floats it does not.
        numbers = jax.lax.bitcast_convert_type(jnp.where(state.odds < 0, fresh, state.odds), jnp.int32)
        of_arm = jax.lax.bitcast_convert_type(jnp.sum(jnp.where(pulled, numbers, 0), dtype=jnp.int32), jnp.float32)
        odds, pays = jnp.where(pulled, of_arm, state.odds), share < of_arm
        reward = jnp.where(pays, 1.0, -1.0) / params.max_steps_in_episode
        state = MultiarmedBanditState(time=state.time + 1, odds=odds)
        return pays.astype(jnp.float32)[None], state, reward, jnp.zeros((), bool)

    def is_truncated(self, state: MultiarmedBanditState, params: MultiarmedBanditParams) -> Array:
        """Whether all pulls are made."""
        return state.time >= params.max_steps_in_episode

    def render(self, state: MultiarmedBanditState, params: MultiarmedBanditParams | None = None) -> Array:
        """The arms, ten per row, with the tenths of their probabilities; the best of those pulled so far is green."""
        known = state.odds >= 0
        tenths = jnp.asarray(characters("0123456789"))[(10 * jnp.maximum(state.odds, 0)).astype(jnp.int32)]
        written = jnp.where(known, tenths, characters("?")[0])
        colors = jnp.where(known & (state.odds == jnp.max(state.odds)), GREEN, LIGHT)
        inks = jnp.where(known, BLACK, GRAY)
        return paint(*(grid.reshape(-1, 10) for grid in (colors, written, inks)))

    def action_space(self, params: MultiarmedBanditParams | None = None) -> Discrete:
        """An arm."""
        return Discrete(self.num_arms)

    def observation_space(self, params: MultiarmedBanditParams | None = None) -> Box:
        """Whether the last pull paid."""
        return Box(0.0, 1.0, (1,))

    def horizon(self, params: Any = None) -> int:
        """The number of pulls."""
        return int((params or self.default_params).max_steps_in_episode)
