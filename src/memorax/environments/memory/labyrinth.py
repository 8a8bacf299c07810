"""LabyrinthEscape and LabyrinthExplore: mazes of which only the surroundings of the agent are observed."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from memorax.core.spaces import Box, Discrete
from memorax.core.types import Array, Key
from memorax.environments.environment import EnvParams, EnvState
from memorax.environments.memory.parts.bitboard import at, count, pack, put, unpack
from memorax.environments.memory.parts.maze import carve, entrances
from memorax.environments.memory.parts.picture import BLACK, GREEN, RED, WHITE, YELLOW, characters, paint
from memorax.environments.memory.parts.prng import split
from memorax.environments.memory.parts.task import Task, clip_action, settings_for

_SETTINGS = {"Easy": 5, "Medium": 7, "Hard": 9}
_FREE, _WALL, _START, _GOAL, _KINDS = 0, 1, 2, 3, 5
_NOTHING_DONE = 4
_STEP_COST = 1 / 1024


@struct.dataclass
class LabyrinthState(EnvState):
    """State of both tasks; boards are rows of bits (see `parts.bitboard`), places are row and column.

    Attributes:
        time: Completed steps.
        open: Free cells, int32 `[S]`.
        seen: Visited cells, int32 `[S]`.
        position: Place of the agent, int32 `[2]`.
        begin: The entrance, where the agent starts, int32 `[2]`.
        goal: The exit, opposite to the entrance, int32 `[2]`.
    """

    open: Array
    seen: Array
    position: Array
    begin: Array
    goal: Array


class Labyrinth(Task[LabyrinthState, EnvParams]):
    """What both tasks share: the maze, moves, observations; subclasses define the reward."""

    max_steps = 1023
    reset_pool = 16
    _has_exit: bool

    def __init__(self, difficulty: str = "Easy") -> None:
        """Create the task.

        Args:
            difficulty: "Easy", "Medium" or "Hard".

        Raises:
            ValueError: If `difficulty` is unknown.
        """
        self._cells = settings_for(difficulty, _SETTINGS)
        self.difficulty = difficulty
        self.size = 2 * self._cells + 1

    @property
    def name(self) -> str:
        """Name of the environment."""
        return f"{type(self).__name__}{self.difficulty}"

    def draw_start(self, key: Key, params: EnvParams) -> tuple[Array, Array, Array]:
        """Draw the free cells, bool `[S, S]`, and two opposite entrances, row and column each."""
        maze_key, entrance_key = split(key)
        return unpack(carve(maze_key, self._cells), self.size), *entrances(entrance_key, self._cells)

    def start(self, drawn: tuple[Array, Array, Array], params: EnvParams) -> tuple[Array, LabyrinthState]:
        """Put the agent into the entrance."""
        begin, goal = (jnp.asarray(place, jnp.int32) for place in drawn[1:])
        ways = put(pack(drawn[0]), *begin)
        ways = put(ways, *goal) if self._has_exit else ways
        zero = jnp.zeros((), jnp.int32)
        seen = put(jnp.zeros_like(ways), *begin)
        state = LabyrinthState(time=zero, open=ways, seen=seen, position=begin, begin=begin, goal=goal)
        return self._observe(state, zero + _NOTHING_DONE), state

    def _observe(self, state: LabyrinthState, action: Array) -> Array:
        """The 3 x 3 block around the agent; in the first row or column it starts at the agent, padded with walls."""
        lines = jnp.maximum(state.position - 1, 0)[:, None] + jnp.arange(3)[None]
        inside = lines <= state.position[:, None] + 1
        y, x = lines
        rows = jnp.where(inside[0], state.open[jnp.minimum(y, self.size - 1)], 0)
        free = ((rows[:, None] >> x[None]) & 1 == 1) & inside[1][None] & (y < self.size)[:, None]
        kinds = jnp.where(free, _FREE, _WALL)
        for place, kind in ((state.begin, _START), (state.goal, _GOAL)):
            kinds = jnp.where(free & (y == place[0])[:, None] & (x == place[1])[None], kind, kinds)
        numbers = jnp.concatenate([kinds.reshape(-1), action[None]])
        return jax.nn.one_hot(numbers, _KINDS, dtype=jnp.float32).reshape(-1)

    def transition(
        self, state: LabyrinthState, action: Array, drawn: Any, params: EnvParams
    ) -> tuple[Array, LabyrinthState, Array, Array]:
        """Move, unless there is a wall."""
        action = clip_action(action, 4)
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
        """Reward, and whether the episode terminates."""
        raise NotImplementedError(f"`_judge` must be implemented by {type(self).__name__}")

    def is_truncated(self, state: LabyrinthState, params: EnvParams) -> Array:
        """Whether the time limit is reached."""
        return state.time >= self.max_steps

    def render(self, state: LabyrinthState, params: EnvParams | None = None) -> Array:
        """The maze from above: agent, visited cells (yellow), entrance (green) and exit (red)."""
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
        """The time limit, in steps."""
        return self.max_steps


class LabyrinthEscape(Labyrinth):
    """Find the exit of a maze, in the wall opposite to the entrance.

    Mazes are generated by hunt-and-kill on n x n cells and are S = 2n + 1 wide and high including walls. The agent
    starts in the entrance. Whether the last action moved the agent follows from the previous observation only.

    * Observation: float32 `[50]`: nine cells row by row, one-hot each (free, wall, entrance, exit, never used), and
      the last action (left, right, up, down, none yet), one-hot. The cells are the 3x3 block around the agent; in the
      first row or column of the maze they are those from the agent on, padded with walls.
    * Action: left, right, up, down, `Discrete(4)`; walls stop the agent.
    * Reward: -1/1024 in every step, and 1 for the exit.
    * Length: up to 1023 steps; terminated at the exit, truncated at 1023.
    * Easy, Medium, Hard: n = 5, 7, 9.

    Source: Morad et al. (2023), POPGym: Benchmarking Partially Observable Reinforcement Learning,
    https://arxiv.org/abs/2303.01859.
    """

    _has_exit = True

    def _judge(self, before: LabyrinthState, after: LabyrinthState) -> tuple[Array, Array]:
        out = jnp.all(after.position == after.goal)
        return out - _STEP_COST, out


class LabyrinthExplore(Labyrinth):
    """Visit every free cell of a maze without exit.

    Mazes are generated by hunt-and-kill on n x n cells and are S = 2n + 1 wide and high including walls. The agent
    starts in the entrance. Visited cells are not shown.

    * Observation: float32 `[50]`: nine cells row by row, one-hot each (free, wall, entrance, two never used), and the
      last action (left, right, up, down, none yet), one-hot. The cells are the 3x3 block around the agent; in the
      first row or column of the maze they are those from the agent on, padded with walls.
    * Action: left, right, up, down, `Discrete(4)`; walls stop the agent.
    * Reward: `1 / F` for each new cell, F = 2 n n - 1 being the number of free cells without the entrance, otherwise
      -1/1024.
    * Length: up to 1023 steps; terminated when all are visited, truncated at 1023.
    * Easy, Medium, Hard: n = 5, 7, 9.

    Source: Morad et al. (2023), POPGym: Benchmarking Partially Observable Reinforcement Learning,
    https://arxiv.org/abs/2303.01859.
    """

    _has_exit = False

    def _judge(self, before: LabyrinthState, after: LabyrinthState) -> tuple[Array, Array]:
        new = ~at(before.seen, *after.position)
        return jnp.where(new, 1 / (count(after.open) - 1), -_STEP_COST), jnp.all(after.seen == after.open)
