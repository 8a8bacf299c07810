"""TMazePassive and TMazeActive: T-mazes with a deadline, which separate memory from credit assignment."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import struct

from memorax.core.checks import check, real, steps
from memorax.core.spaces import Box, Discrete
from memorax.core.types import Array, Key
from memorax.environments.environment import EnvParams, EnvState
from memorax.environments.memory.parts.picture import GRAY, GREEN, RED, WHITE, YELLOW, characters, paint
from memorax.environments.memory.parts.prng import fair_coin
from memorax.environments.memory.parts.task import Task, clip_action

_STEPS_X = (1, 0, -1, 0)
_STEPS_Y = (0, 1, 0, -1)


@struct.dataclass
class DeadlineTMazeParams(EnvParams):
    """Parameters: `length`, cells from start to junction, int32; `penalty`, not positive, float32."""

    length: Array | np.int32
    penalty: Array | np.float32


@struct.dataclass
class DeadlineTMazeState(EnvState):
    """State: `x`, cells from the oracle; `y`, not 0 in goal cells; `goal`, -1 or 1; `seen`, whether the oracle was."""

    x: Array
    y: Array
    goal: Array
    seen: Array


class DeadlineTMaze(Task[DeadlineTMazeState, DeadlineTMazeParams]):
    """What both mazes share; `_oracle` is the distance between the oracle and the start."""

    optimal_return = 1.0
    _oracle: int

    def __init__(self, length: int = 10, *, penalty: float | str | None = None) -> None:
        """Create the maze.

        Args:
            length: Cells from the start to the junction, at least 1.
            penalty: Reward of a step in which the agent is late, at most 0; by default `-1 / length`. With "action",
                being late is free, and every action other than right costs `1 / length`: easier to explore.

        Raises:
            TypeError: If `length` is not an integer, or `penalty` not a number.
            ValueError: If `length` is below 1, or `penalty` is positive or another word.
        """
        self.length = check("length", length, steps())
        self.for_action = isinstance(penalty, str)
        if self.for_action and penalty != "action":
            raise ValueError(f"`penalty` must be a number or 'action', got {penalty!r}")
        given = -1.0 / self.length if penalty is None or isinstance(penalty, str) else penalty
        self.penalty = float(check("penalty", given, real(maximum=0)))
        # The active maze leaves two spare steps, which a policy without memory cannot use for free.
        self.memoryless_return = None if self.for_action and self._oracle else 0.5

    @property
    def default_params(self) -> DeadlineTMazeParams:
        """Parameters that `reset` and `step` use by default."""
        return DeadlineTMazeParams(length=np.int32(self.length), penalty=np.float32(self.penalty))

    def draw_start(self, key: Key, params: DeadlineTMazeParams) -> Array:
        """Draw the goal, -1 or 1."""
        return 2 * fair_coin(key).astype(jnp.int32) - 1

    def start(self, drawn: Array, params: DeadlineTMazeParams) -> tuple[Array, DeadlineTMazeState]:
        """Put the agent at the start."""
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
        """Move; at the deadline, judge where the agent is."""
        action = clip_action(action, 4)
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
        """Whether at the junction, and the goal or a side."""
        return Box(np.array([0.0, -1.0]), np.array([1.0, 1.0]))

    def horizon(self, params: DeadlineTMazeParams | None = None) -> int:
        """The way to the goal, from the oracle in the active maze."""
        return int((params or self.default_params).length) + 2 * self._oracle + 1

    def memory_length(self, params: DeadlineTMazeParams | None = None) -> int:
        """From the oracle to the junction."""
        return int((params or self.default_params).length) + self._oracle

    def credit_length(self, params: DeadlineTMazeParams | None = None) -> int:
        """The turn is rewarded at once; visiting the oracle only at the end."""
        return self.horizon(params) if self._oracle else 1

    def render(self, state: DeadlineTMazeState, params: DeadlineTMazeParams | None = None) -> Array:
        """The maze from above: oracle yellow, goal green, agent a red disk."""
        junction = int((params or self.default_params).length) + self._oracle
        colors = jnp.full((3, junction + 1), GRAY).at[1].set(WHITE).at[::2, junction].set(WHITE)
        colors = colors.at[1, 0].set(YELLOW).at[1 - state.goal, junction].set(GREEN)
        return paint(colors, jnp.zeros_like(colors).at[1 - state.y, state.x].set(characters("o")[0]), RED)


class TMazePassive(DeadlineTMaze):
    """Start at an oracle that shows a side, walk down a corridor, and turn to that side before the deadline.

    A test of memory without credit assignment: the decisive action is the last one. Reaching a goal cell early does not
    end the episode.

    * Observation: float32 `[2]`: whether at the junction, and the goal (-1 or 1) at the first visit of the oracle, the
      agent's side (-1, 0, 1) at the junction, otherwise 0.
    * Action: right, up, left, down, `Discrete(4)`; blocked moves stay.
    * Reward: before the end `penalty` for a step after which the agent is behind schedule (a straight walk); at the end
      1 in the correct goal cell, otherwise 0.
    * Length: `length + 1` steps, ended by termination.
    * Returns: 1 with memory, 0.5 at best without it.

    Source: Ni et al. (2023), When Do Transformers Shine in RL? Decoupling Memory from Credit Assignment,
    https://arxiv.org/abs/2307.03864.
    """

    _oracle = 0


class TMazeActive(DeadlineTMaze):
    """Walk back to an oracle that shows a side, then down the corridor, and turn to that side before the deadline.

    A test of memory and of credit assignment: visiting the oracle is rewarded only at the end.

    * Observation, * Action, * Reward: as TMazePassive; the step back to the oracle does not count as late.
    * Length: `length + 3` steps, ended by termination.
    * Returns: 1 with memory, 0.5 at best without it (unknown with `penalty="action"`).

    Source: Ni et al. (2023), https://arxiv.org/abs/2307.03864.
    """

    _oracle = 1
