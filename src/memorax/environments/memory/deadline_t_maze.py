"""What the two T-mazes with a deadline share: a corridor, an oracle, and how late one is."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import struct

from memorax.core.spaces import Box, Discrete
from memorax.core.types import Array, Key
from memorax.environments.environment import EnvParams, EnvState
from memorax.environments.memory.chance import coin
from memorax.environments.memory.picture import GRAY, GREEN, RED, WHITE, YELLOW, characters, paint
from memorax.environments.memory.task import Task, clipped, whole

_STEPS_X = (1, 0, -1, 0)
_STEPS_Y = (0, 1, 0, -1)


@struct.dataclass
class DeadlineTMazeParams(EnvParams):
    """Parameters: `length`, cells from start to junction, int32; `penalty`, not positive, float32."""

    length: Array | np.int32
    penalty: Array | np.float32


@struct.dataclass
class DeadlineTMazeState(EnvState):
    """State: `x` along the corridor, 0 the oracle; `y`, not 0 in goal cells; `goal`, -1 or 1; `seen`, the oracle."""

    x: Array
    y: Array
    goal: Array
    seen: Array


class DeadlineTMaze(Task[DeadlineTMazeState, DeadlineTMazeParams]):
    """What both mazes share; `_oracle` is how far from the oracle the agent starts."""

    optimal_return = 1.0
    _oracle: int

    def __init__(self, length: int = 10, *, penalty: float | str | None = None) -> None:
        """Lay out the maze.

        Args:
            length: Cells from where the agent starts to the junction, at least 1.
            penalty: Reward of a step on which the agent is late, at most 0; by default `-1 / length`. With "action",
                being late is free, and every action other than right costs `1 / length`: easier to explore.

        Raises:
            TypeError: If `length` is no integer.
            ValueError: If `length` is below 1, or `penalty` is positive or another word.
        """
        self.length = whole("length", length)
        self.for_action = penalty == "action"
        if isinstance(penalty, str) and not self.for_action:
            raise ValueError(f"`penalty` must be a number or 'action', got {penalty!r}")
        self.penalty = -1.0 / length if penalty is None or isinstance(penalty, str) else float(penalty)
        if not self.penalty <= 0:
            raise ValueError(f"`penalty` must be at most 0, got {penalty}; it is the reward for being late")
        # Who must also ask has time to spare, and without memory cannot spend it free of charge.
        self.memoryless_return = None if self.for_action and self._oracle else 0.5

    @property
    def default_params(self) -> DeadlineTMazeParams:
        """The parameters used where none are given."""
        return DeadlineTMazeParams(length=np.int32(self.length), penalty=np.float32(self.penalty))

    def draw_start(self, key: Key, params: DeadlineTMazeParams) -> Array:
        """Draw the goal, -1 or 1."""
        return 2 * coin(key).astype(jnp.int32) - 1

    def start(self, drawn: Array, params: DeadlineTMazeParams) -> tuple[Array, DeadlineTMazeState]:
        """Put the agent in its place."""
        zero = jnp.zeros((), jnp.int32)
        goal = jnp.asarray(drawn, jnp.int32)
        state = DeadlineTMazeState(time=zero, x=zero + self._oracle, y=zero, goal=goal, seen=jnp.zeros((), bool))
        return self._observe(state, params)

    def _observe(self, state: DeadlineTMazeState, params: DeadlineTMazeParams) -> tuple[Array, DeadlineTMazeState]:
        at_oracle, at_junction = state.x == 0, state.x == self._oracle + params.length
        word = jnp.where(at_oracle, jnp.where(state.seen, 0, state.goal), jnp.where(at_junction, state.y, 0))
        observation = jnp.stack([at_junction.astype(jnp.float32), word.astype(jnp.float32)])
        return observation, state.replace(seen=state.seen | at_oracle)  # type: ignore[attr-defined]

    def transition(
        self, state: DeadlineTMazeState, action: Array, drawn: Any, params: DeadlineTMazeParams
    ) -> tuple[Array, DeadlineTMazeState, Array, Array]:
        """Walk; be judged at the deadline."""
        action = clipped(action, 4)
        junction = self._oracle + jnp.asarray(params.length, jnp.int32)
        x = state.x + jnp.array(_STEPS_X, jnp.int32)[action]
        y = state.y + jnp.array(_STEPS_Y, jnp.int32)[action]
        free = ((y == 0) & (x >= 0) & (x <= junction)) | ((jnp.abs(y) == 1) & (x == junction))
        x, y, time = jnp.where(free, x, state.x), jnp.where(free, y, state.y), state.time + 1
        last = time >= params.length + 2 * self._oracle + 1
        spent = (action != 0) & (time > self._oracle) if self.for_action else x < time - self._oracle
        reward = jnp.where(last, (y == state.goal).astype(jnp.float32), jnp.where(spent, params.penalty, 0.0))
        state = DeadlineTMazeState(time=time, x=x, y=y, goal=state.goal, seen=state.seen)
        return *self._observe(state, params), reward, last

    def action_space(self, params: Any = None) -> Discrete:
        """Right, up, left, down."""
        return Discrete(4)

    def observation_space(self, params: Any = None) -> Box:
        """Whether at the junction, and a word or a side."""
        return Box(np.array([0.0, -1.0]), np.array([1.0, 1.0]))

    def horizon(self, params: DeadlineTMazeParams | None = None) -> int:
        """There and, if the oracle must be asked first, back."""
        return int((params or self.default_params).length) + 2 * self._oracle + 1

    def memory_length(self, params: DeadlineTMazeParams | None = None) -> int:
        """From the oracle to the junction."""
        return int((params or self.default_params).length) + self._oracle

    def credit_length(self, params: DeadlineTMazeParams | None = None) -> int:
        """The turn is paid at once; asking the oracle is paid at the end."""
        return self.horizon(params) if self._oracle else 1

    def render(self, state: DeadlineTMazeState, params: DeadlineTMazeParams | None = None) -> Array:
        """Paint the maze from above: oracle yellow, goal green, agent a red disk."""
        junction = int((params or self.default_params).length) + self._oracle
        colors = jnp.full((3, junction + 1), GRAY).at[1].set(WHITE).at[::2, junction].set(WHITE)
        colors = colors.at[1, 0].set(YELLOW).at[1 - state.goal, junction].set(GREEN)
        return paint(colors, jnp.zeros_like(colors).at[1 - state.y, state.x].set(characters("o")[0]), RED)
