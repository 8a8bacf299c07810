"""MineSweeper: clear a minefield without seeing the board."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from memorax.core.spaces import Box, Discrete
from memorax.core.types import Array, Key
from memorax.environments.environment import EnvParams, EnvState
from memorax.environments.memory.parts.picture import BLACK, GRAY, LIGHT, RED, characters, paint
from memorax.environments.memory.parts.prng import integers
from memorax.environments.memory.parts.task import Task, clip_action, settings_for

_SETTINGS = {"Easy": (4, 2), "Medium": (6, 6), "Hard": (8, 10)}


@struct.dataclass
class MineSweeperState(EnvState):
    """State of MineSweeper.

    Attributes:
        time: Completed steps.
        mines: Cells with a mine, bool `[n, n]`.
        seen: Opened cells, bool `[n, n]`.
    """

    mines: Array
    seen: Array


class MineSweeper(Task[MineSweeperState, EnvParams]):
    """Open all cells without a mine; the board must be remembered.

    Solvable only with the previous action, which the agents' default networks are given: the observation does not say
    which cell it belongs to.

    * Observation: the number of mines in the 3x3 block around the cell that was opened, itself included, one-hot
      float32 `[min(m, 9) + 1]`; 0 at the start.
    * Action: the cell to open, row by row, `Discrete(n n)`.
    * Reward: `1 / T` for a new cell without a mine, `-0.5 / (T - 2)` for a cell that was opened before,
      `-0.5 - 1 / T` for a mine.
    * Length: up to T = n n - m steps; terminated at a mine or when all other cells are open, truncated at T otherwise.
    * Easy, Medium, Hard: n = 4, 6, 8 and m = 2, 6, 10 mines.

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
        self.size, self.num_mines = settings_for(difficulty, _SETTINGS)
        self.difficulty = difficulty
        self.max_steps = self.size**2 - self.num_mines
        self._counts = min(self.num_mines, 9) + 1

    @property
    def name(self) -> str:
        """Name of the environment."""
        return f"MineSweeper{self.difficulty}"

    def draw_start(self, key: Key, params: EnvParams) -> Array:
        """Draw the cells with a mine, bool `[n, n]`: every set of m cells is equally likely."""
        cells = self.size**2
        tops = range(cells - self.num_mines, cells)
        drawn = integers(key, np.array(tops) + 1, (self.num_mines,))
        number, mines = jnp.arange(cells), jnp.zeros((cells,), bool)
        # Floyd's algorithm: one of the first k + 1 cells at random, or the last of them where that is taken.
        for top, cell in zip(tops, drawn, strict=True):
            taken = jnp.any(mines & (number == cell))
            mines = mines | (number == jnp.where(taken, top, cell))
        return mines.reshape(self.size, self.size)

    def start(self, drawn: Array, params: EnvParams) -> tuple[Array, MineSweeperState]:
        """Start with all cells closed."""
        mines = jnp.asarray(drawn, bool)
        state = MineSweeperState(time=jnp.zeros((), jnp.int32), mines=mines, seen=jnp.zeros_like(mines))
        return self._observe(jnp.zeros((), jnp.int32)), state

    def _observe(self, mines: Array) -> Array:
        return jax.nn.one_hot(mines, self._counts, dtype=jnp.float32)

    def transition(
        self, state: MineSweeperState, action: Array, drawn: Any, params: EnvParams
    ) -> tuple[Array, MineSweeperState, Array, Array]:
        """Open a cell."""
        row, column = jnp.divmod(clip_action(action, self.size**2), self.size)
        rows, columns = jnp.abs(jnp.arange(self.size) - row), jnp.abs(jnp.arange(self.size) - column)
        here, near = (rows <= distance for distance in (0, 1))
        here, near = here[:, None] & (columns == 0)[None], near[:, None] & (columns <= 1)[None]
        mine, again = jnp.any(here & state.mines), jnp.any(here & state.seen)
        safe = jnp.where(again, -0.5 / (self.max_steps - 2), 1 / self.max_steps)
        reward = jnp.where(mine, -0.5 - 1 / self.max_steps, safe)
        seen = state.seen | here
        state = MineSweeperState(time=state.time + 1, mines=state.mines, seen=seen)
        return self._observe(jnp.sum(near & state.mines)), state, reward, self._over(state)

    def _over(self, state: MineSweeperState) -> Array:
        """Whether a mine was opened, or every cell without one."""
        return jnp.any(state.seen & state.mines) | jnp.all(state.seen | state.mines)

    def is_truncated(self, state: MineSweeperState, params: EnvParams) -> Array:
        """Whether the time limit is reached and nothing else ended the episode."""
        return (state.time >= self.max_steps) & ~self._over(state)

    def render(self, state: MineSweeperState, params: EnvParams | None = None) -> Array:
        """The board: counts on opened cells, mines as disks, on red where opened."""
        near = jax.lax.reduce_window(state.mines.astype(jnp.int32), 0, jax.lax.add, (3, 3), (1, 1), "SAME")
        counted = jnp.where(state.seen, jnp.asarray(characters("0123456789"))[near], 0)
        colors = jnp.where(state.seen, jnp.where(state.mines, RED, LIGHT), GRAY)
        return paint(colors, jnp.where(state.mines, characters("o")[0], counted), BLACK)

    def action_space(self, params: EnvParams | None = None) -> Discrete:
        """A cell."""
        return Discrete(self.size**2)

    def observation_space(self, params: EnvParams | None = None) -> Box:
        """A one-hot count."""
        return Box(0.0, 1.0, (self._counts,))

    def horizon(self, params: Any = None) -> int:
        """The time limit, in steps."""
        return self.max_steps
