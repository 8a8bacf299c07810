"""MultiarmedBandit: find the arm that pays best."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from memorax.core.spaces import Box, Discrete
from memorax.core.types import Array, Key
from memorax.environments.environment import EnvParams, EnvState
from memorax.environments.memory.picture import GREEN, LIGHT, characters, paint
from memorax.environments.memory.sparse import SparselyReset
from memorax.environments.memory.task import choose, clipped

_SETTINGS = {"Easy": (10, 200), "Medium": (20, 400), "Hard": (30, 600)}


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
        odds: Probability that each arm pays, float32 `[arms]`.
    """

    odds: Array


class MultiarmedBandit(SparselyReset[MultiarmedBanditState, MultiarmedBanditParams]):
    """Pull arms whose probabilities of paying are new in every episode.

    Each arm pays with a probability drawn uniformly from [0, 1). Solvable only with the previous action, which the
    agents' default networks are given: the observation does not say which arm paid. Who knew the probabilities of
    all A arms would get 2 A / (A + 1) - 1 on average (0.82, 0.90, 0.94); who pulls at random gets 0.

    * Observation: whether the last pull paid, float32 `[1]`; 0 at the start.
    * Action: an arm, `Discrete(A)`.
    * Reward: `1 / T` if it pays, otherwise `-1 / T`.
    * Length: T steps, ended by truncation.
    * Easy, Medium, Hard: A = 10, 20, 30 and T = 200, 400, 600.

    Source: Morad et al. (2023), POPGym: Benchmarking Partially Observable Reinforcement Learning,
    https://arxiv.org/abs/2303.01859.
    """

    def __init__(self, difficulty: str = "Easy") -> None:
        """Set up the arms.

        Args:
            difficulty: "Easy", "Medium" or "Hard".

        Raises:
            ValueError: If `difficulty` is unknown.
        """
        self.num_arms, self.max_steps = choose(difficulty, _SETTINGS)
        self.difficulty = difficulty

    @property
    def name(self) -> str:
        """What the environment is called."""
        return f"MultiarmedBandit{self.difficulty}"

    @property
    def default_params(self) -> MultiarmedBanditParams:
        """The parameters used where none are given."""
        return MultiarmedBanditParams(max_steps_in_episode=np.int32(self.max_steps))

    def draw_start(self, key: Key, params: MultiarmedBanditParams) -> Array:
        """Draw the probabilities, `[arms]`."""
        return jax.random.uniform(key, (self.num_arms,))

    def start(self, drawn: Array, params: MultiarmedBanditParams) -> tuple[Array, MultiarmedBanditState]:
        """Stand before the arms."""
        state = MultiarmedBanditState(time=jnp.zeros((), jnp.int32), odds=jnp.asarray(drawn, jnp.float32))
        return jnp.zeros((1,), jnp.float32), state

    def draw(self, key: Key, state: MultiarmedBanditState, params: MultiarmedBanditParams) -> Array:
        """Draw a number from [0, 1); an arm pays if its probability is larger."""
        return jax.random.uniform(key)

    def transition(
        self, state: MultiarmedBanditState, action: Array, drawn: Array, params: MultiarmedBanditParams
    ) -> tuple[Array, MultiarmedBanditState, Array, Array]:
        """Pull an arm."""
        pays = drawn < state.odds[clipped(action, self.num_arms)]
        reward = jnp.where(pays, 1.0, -1.0) / params.max_steps_in_episode
        state = MultiarmedBanditState(time=state.time + 1, odds=state.odds)
        return pays.astype(jnp.float32)[None], state, reward, jnp.zeros((), bool)

    def is_truncated(self, state: MultiarmedBanditState, params: MultiarmedBanditParams) -> Array:
        """Whether all pulls are made."""
        return state.time >= params.max_steps_in_episode

    def render(self, state: MultiarmedBanditState, params: MultiarmedBanditParams | None = None) -> Array:
        """The arms, ten a row, with the tenths of their probabilities; the best one is green."""
        tenths = jnp.asarray(characters("0123456789"))[(10 * state.odds).astype(jnp.int32)]
        colors = jnp.where(state.odds == jnp.max(state.odds), GREEN, LIGHT)
        return paint(colors.reshape(-1, 10), tenths.reshape(-1, 10))

    def action_space(self, params: MultiarmedBanditParams | None = None) -> Discrete:
        """An arm."""
        return Discrete(self.num_arms)

    def observation_space(self, params: MultiarmedBanditParams | None = None) -> Box:
        """Paid or not."""
        return Box(0.0, 1.0, (1,))

    def horizon(self, params: Any = None) -> int:
        """All pulls."""
        return int((params or self.default_params).max_steps_in_episode)
