"""Battleship: sink a fleet that is never seen."""

from typing import Any

import jax.numpy as jnp
from flax import struct

from memorax.core.spaces import Box, Discrete
from memorax.core.types import Array, Key
from memorax.environments.environment import EnvParams, EnvState
from memorax.environments.memory.bitboard import at, count, lower, nth, pack, put, unpack
from memorax.environments.memory.chance import uniform
from memorax.environments.memory.picture import BLACK, BLUE, GRAY, RED, WHITE, characters, paint
from memorax.environments.memory.sparse import SparselyReset
from memorax.environments.memory.task import choose, clipped

_SETTINGS = {"Easy": 8, "Medium": 10, "Hard": 12}
_FLEET = (2, 3, 3, 4)


@struct.dataclass
class BattleshipState(EnvState):
    """State of Battleship; boards are rows of bits.

    Attributes:
        time: Completed steps.
        ships: Where ships lie, int32 `[n]`.
        shots: Where shots fell, int32 `[n]`.
    """

    ships: Array
    shots: Array


class Battleship(SparselyReset[BattleshipState, EnvParams]):
    """Find and sink ships of 2, 3, 3 and 4 cells on an empty sea.

    The ships lie straight and never overlap; each is placed uniformly among the places left by the ones before.
    Solvable only with the previous action, which the agents' default networks are given: the observation does not say
    where the last shot fell.

    * Observation: whether the last shot was a hit, float32 `[1]`; the same cell is hit only once.
    * Action: the cell to shoot at, row by row, `Discrete(n n)`.
    * Reward: 1/12 for a hit, `-1 / (n n - 12)` for any other shot.
    * Length: up to n n steps; terminated at the twelfth hit, truncated at n n (both flags may be set at once).
    * Easy, Medium, Hard: n = 8, 10, 12.

    Source: Morad et al. (2023), POPGym: Benchmarking Partially Observable Reinforcement Learning,
    https://arxiv.org/abs/2303.01859.
    """

    def __init__(self, difficulty: str = "Easy") -> None:
        """Set up the sea.

        Args:
            difficulty: "Easy", "Medium" or "Hard".

        Raises:
            ValueError: If `difficulty` is unknown.
        """
        self.size = choose(difficulty, _SETTINGS)
        self.difficulty = difficulty

    @property
    def name(self) -> str:
        """What the environment is called."""
        return f"Battleship{self.difficulty}"

    def draw_start(self, key: Key, params: EnvParams) -> Array:
        """Draw where ships lie, bool `[n, n]`."""
        board = jnp.zeros((self.size,), jnp.int32)
        for length, share in zip(_FLEET, uniform(key, (len(_FLEET),)), strict=True):
            board = self._place(board, length, share)
        return unpack(board, self.size)

    def _place(self, board: Array, length: int, share: Array) -> Array:
        """Put a ship on one of its free places, all of them equally likely."""
        n, rows = self.size, jnp.arange(self.size)
        across = down = free = ((1 << n) - 1) & ~board
        for i in range(1, length):
            across, down = across & (free >> i), down & lower(free, i)
        places = jnp.concatenate([across, down])
        row, column = nth(places, jnp.floor(share * count(places)).astype(jnp.int32), n)
        lies_across = row < n
        first = jnp.where(lies_across, row, row - n)
        last = jnp.where(lies_across, first, first + length - 1)
        bits = jnp.left_shift(jnp.where(lies_across, (1 << length) - 1, 1), column)
        return board | jnp.where((rows >= first) & (rows <= last), bits, 0)

    def start(self, drawn: Array, params: EnvParams) -> tuple[Array, BattleshipState]:
        """Take up position."""
        shots, zero = jnp.zeros((self.size,), jnp.int32), jnp.zeros((), jnp.int32)
        return jnp.zeros((1,), jnp.float32), BattleshipState(time=zero, ships=pack(drawn), shots=shots)

    def transition(
        self, state: BattleshipState, action: Array, drawn: Any, params: EnvParams
    ) -> tuple[Array, BattleshipState, Array, Array]:
        """Shoot."""
        row, column = jnp.divmod(clipped(action, self.size**2), self.size)
        hit = at(state.ships & ~state.shots, row, column)
        reward = jnp.where(hit, 1 / sum(_FLEET), -1 / (self.size**2 - sum(_FLEET)))
        state = BattleshipState(time=state.time + 1, ships=state.ships, shots=put(state.shots, row, column))
        sunk = jnp.all(state.ships & ~state.shots == 0)
        return hit.astype(jnp.float32)[None], state, reward, sunk

    def is_truncated(self, state: BattleshipState, params: EnvParams) -> Array:
        """Whether there were as many shots as cells, also where the last one sinks the fleet."""
        return state.time >= self.size**2

    def render(self, state: BattleshipState, params: EnvParams | None = None) -> Array:
        """The sea from above: ships gray, where hit red; shots are marked."""
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
        """A shot a cell."""
        return self.size**2
