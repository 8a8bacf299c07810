"""What the two labyrinth tasks share: a maze, one step, and what is seen of it."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from memorax.core.spaces import Box, Discrete
from memorax.core.types import Array, Key
from memorax.environments.environment import EnvParams, EnvState
from memorax.environments.memory.bitboard import at, pack, put, unpack
from memorax.environments.memory.chance import split
from memorax.environments.memory.maze import carve, entrances
from memorax.environments.memory.picture import BLACK, GREEN, RED, WHITE, YELLOW, characters, paint
from memorax.environments.memory.sparse import SparselyReset
from memorax.environments.memory.task import choose, clipped

_SETTINGS = {"Easy": 5, "Medium": 7, "Hard": 9}
_FREE, _WALL, _START, _GOAL, _KINDS = 0, 1, 2, 3, 5
_NOTHING_DONE = 4
PAY_A_STEP = 1 / 1024


@struct.dataclass
class LabyrinthState(EnvState):
    """State of both tasks; boards are rows of bits, places are row and column.

    Attributes:
        time: Completed steps.
        open: Where one can walk, int32 `[S]`.
        seen: Where the agent has been, int32 `[S]`.
        position: Where the agent is, int32 `[2]`.
        begin: Where the agent began, int32 `[2]`.
        goal: The opposite entrance, int32 `[2]`.
    """

    open: Array
    seen: Array
    position: Array
    begin: Array
    goal: Array


class Labyrinth(SparselyReset[LabyrinthState, EnvParams]):
    """A maze, entered from outside; subclasses say what for."""

    max_steps = 1023
    _has_exit: bool

    def __init__(self, difficulty: str = "Easy") -> None:
        """Set up the maze.

        Args:
            difficulty: "Easy", "Medium" or "Hard".

        Raises:
            ValueError: If `difficulty` is unknown.
        """
        self._cells = choose(difficulty, _SETTINGS)
        self.difficulty = difficulty
        self.size = 2 * self._cells + 1

    @property
    def name(self) -> str:
        """What the environment is called."""
        return f"{type(self).__name__}{self.difficulty}"

    def draw_start(self, key: Key, params: EnvParams) -> tuple[Array, Array, Array]:
        """Draw what is open, bool `[S, S]`, and two entrances, row and column each."""
        maze_key, entrance_key = split(key)
        return unpack(carve(maze_key, self._cells), self.size), *entrances(entrance_key, self._cells)

    def start(self, drawn: tuple[Array, Array, Array], params: EnvParams) -> tuple[Array, LabyrinthState]:
        """Enter."""
        begin, goal = (jnp.asarray(place, jnp.int32) for place in drawn[1:])
        ways = put(pack(drawn[0]), *begin)
        ways = put(ways, *goal) if self._has_exit else ways
        zero = jnp.zeros((), jnp.int32)
        seen = put(jnp.zeros_like(ways), *begin)
        state = LabyrinthState(time=zero, open=ways, seen=seen, position=begin, begin=begin, goal=goal)
        return self._observe(state, zero + _NOTHING_DONE), state

    def _observe(self, state: LabyrinthState, action: Array) -> Array:
        """The block around the agent; in the first row or column the agent is at its edge, and walls follow below."""
        lines = jnp.maximum(state.position - 1, 0)[:, None] + jnp.arange(3)
        inside = lines <= state.position[:, None] + 1
        y, x = lines
        rows = jnp.where(inside[0], state.open[jnp.minimum(y, self.size - 1)], 0)
        free = ((rows[:, None] >> x) & 1 == 1) & inside[1] & (y < self.size)[:, None]
        kinds = jnp.where(free, _FREE, _WALL)
        for place, kind in ((state.begin, _START), (state.goal, _GOAL)):
            kinds = jnp.where(free & (y == place[0])[:, None] & (x == place[1]), kind, kinds)
        numbers = jnp.concatenate([kinds.reshape(-1), action[None]])
        return jax.nn.one_hot(numbers, _KINDS, dtype=jnp.float32).reshape(-1)

    def transition(
        self, state: LabyrinthState, action: Array, drawn: Any, params: EnvParams
    ) -> tuple[Array, LabyrinthState, Array, Array]:
        """Walk, if there is no wall."""
        action = clipped(action, 4)
        step = jnp.where(action % 2 == 0, -1, 1) * jnp.stack([action >= 2, action < 2])
        target = jnp.clip(state.position + step, 0, self.size - 1)
        position = jnp.where(at(state.open, *target), target, state.position)
        after = LabyrinthState(
            time=state.time + 1,
            open=state.open,
            seen=put(state.seen, *position),
            position=position,
            begin=state.begin,
            goal=state.goal,
        )
        reward, terminated = self._judge(state, after)
        return self._observe(after, action), after, reward, terminated

    def _judge(self, before: LabyrinthState, after: LabyrinthState) -> tuple[Array, Array]:
        """Reward, and whether the task is done."""
        raise NotImplementedError(f"`_judge` must be written by {type(self).__name__}")

    def is_truncated(self, state: LabyrinthState, params: EnvParams) -> Array:
        """Whether the time is up."""
        return state.time >= self.max_steps

    def render(self, state: LabyrinthState, params: EnvParams | None = None) -> Array:
        """The maze from above: where the agent is, where it has been, where it began and the exit."""
        ways, seen = unpack(state.open, self.size), unpack(state.seen, self.size)
        colors = jnp.where(ways, jnp.where(seen, YELLOW, WHITE), BLACK).at[tuple(state.begin)].set(GREEN)
        if self._has_exit:
            colors = colors.at[tuple(state.goal)].set(RED)
        written = jnp.zeros_like(colors).at[tuple(state.position)].set(characters("o")[0])
        return paint(colors, written, zoom=2)

    def action_space(self, params: EnvParams | None = None) -> Discrete:
        """Left, right, up, down."""
        return Discrete(4)

    def observation_space(self, params: EnvParams | None = None) -> Box:
        """Nine cells and the last action, one-hot each."""
        return Box(0.0, 1.0, (10 * _KINDS,))

    def horizon(self, params: Any = None) -> int:
        """The time limit."""
        return self.max_steps
