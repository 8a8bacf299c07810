"""Battleship: sink a fleet that is never seen."""

from typing import Any

import jax.numpy as jnp
from flax import struct

from memorax.core.spaces import Box, Discrete
from memorax.core.types import Array, Key
from memorax.environments.environment import EnvParams, EnvState
from memorax.environments.memory.parts.bitboard import at, count, nth, pack, put, shift_rows, unpack
from memorax.environments.memory.parts.picture import BLACK, BLUE, GRAY, RED, WHITE, characters, paint
from memorax.environments.memory.parts.prng import uniform
from memorax.environments.memory.parts.task import Task, clip_action, settings_for

_SETTINGS = {"Easy": 8, "Medium": 10, "Hard": 12}
_FLEET = (2, 3, 3, 4)


@struct.dataclass
class BattleshipState(EnvState):
    """State of Battleship; boards are rows of bits.

    Attributes:
        time: Completed steps.
        ships: Cells of the ships, int32 `[n]`.
        shots: Cells that were shot at, int32 `[n]`.
    """

    ships: Array
    shots: Array


class Battleship(Task[BattleshipState, EnvParams]):
    """Find and sink hidden ships of 2, 3, 3 and 4 cells.

    Ships are horizontal or vertical and never overlap; each is placed uniformly among the places left by the earlier
    ones. Solvable only with the previous action, which the agents' default networks are given: the observation does not
    say where the last shot fell.

    * Observation: whether the last shot was a hit, float32 `[1]`; the same cell is hit only once.
    * Action: the cell to shoot at, row by row, `Discrete(n n)`.
    * Reward: 1/12 for a hit, `-1 / (n n - 12)` for any other shot.
    * Length: up to n n steps; terminated at the twelfth hit, truncated at n n (both flags may be set at once).
    * Easy, Medium, Hard: n = 8, 10, 12.

    Source: Morad et al. (2023), POPGym: Benchmarking Partially Observable Reinforcement Learning,
    https://arxiv.org/abs/2303.01859.
    """

    reset_pool = 16

    def __init__(self, difficulty: str = "Easy") -> None:
        """Create the task.

        Args:
            difficulty: "Easy", "Medium" or "Hard".

        Raises:
            ValueError: If `difficulty` is unknown.
        """
        self.size = settings_for(difficulty, _SETTINGS)
        self.difficulty = difficulty

    @property
    def name(self) -> str:
        """Name of the environment."""
        return f"Battleship{self.difficulty}"

    def draw_start(self, key: Key, params: EnvParams) -> Array:
        """Draw the cells of the ships, bool `[n, n]`."""
        board = jnp.zeros((self.size,), jnp.int32)
        for length, share in zip(_FLEET, uniform(key, (len(_FLEET),)), strict=True):
            board = self._place(board, length, share)
        return unpack(board, self.size)

    def _place(self, board: Array, length: int, share: Array) -> Array:
        """Put a ship on one of its free places, chosen uniformly."""
        n, rows = self.size, jnp.arange(self.size)
        across = down = free = ((1 << n) - 1) & ~board
        for i in range(1, length):
            across, down = across & (free >> i), down & shift_rows(free, i)
        places = jnp.concatenate([across, down])
        row, column = nth(places, jnp.floor(share * count(places)).astype(jnp.int32), n)
        lies_across = row < n
        first = jnp.where(lies_across, row, row - n)
        last = jnp.where(lies_across, first, first + length - 1)
        bits = jnp.left_shift(jnp.where(lies_across, (1 << length) - 1, 1), column)
        return board | jnp.where((rows >= first) & (rows <= last), bits, 0)

    def start(self, drawn: Array, params: EnvParams) -> tuple[Array, BattleshipState]:
        """Start with the ships hidden."""
        shots, zero = jnp.zeros((self.size,), jnp.int32), jnp.zeros((), jnp.int32)
        return jnp.zeros((1,), jnp.float32), BattleshipState(time=zero, ships=pack(drawn), shots=shots)

    def transition(
        self, state: BattleshipState, action: Array, drawn: Any, params: EnvParams
    ) -> tuple[Array, BattleshipState, Array, Array]:
        """Shoot at a cell."""
        row, column = jnp.divmod(clip_action(action, self.size**2), self.size)
        hit = at(state.ships & ~state.shots, row, column)
        reward = jnp.where(hit, 1 / sum(_FLEET), -1 / (self.size**2 - sum(_FLEET)))
        state = BattleshipState(time=state.time + 1, ships=state.ships, shots=put(state.shots, row, column))
        sunk = jnp.all(state.ships & ~state.shots == 0)
        return hit.astype(jnp.float32)[None], state, reward, sunk

    def is_truncated(self, state: BattleshipState, params: EnvParams) -> Array:
        """Whether there were as many shots as cells, also where the last one ends the game."""
        return state.time >= self.size**2

    def render(self, state: BattleshipState, params: EnvParams | None = None) -> Array:
        """The board: ships gray, red where hit; shots are crosses."""
        ships, shots = unpack(state.ships, self.size), unpack(state.shots, self.size)
        colors = jnp.where(ships, jnp.where(shots, RED, GRAY), BLUE)
        return paint(colors, jnp.where(shots, characters("x")[0], 0), jnp.where(ships, WHITE, BLACK))

    def action_space(self, params: EnvParams | None = None) -> Discrete:
        """A cell."""
        return Discrete(self.size**2)

    def observation_space(self, params: EnvParams | None = None) -> Box:
        """Hit or not."""
        return Box(0.0, 1.0, (1,))

    def horizon(self, params: Any = None) -> int:
        """One shot for each cell."""
        return self.size**2
