"""TMaze: see a sign, walk down a corridor, turn where the sign pointed."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import struct

from memorax.core.checks import check, steps
from memorax.core.spaces import Box, Discrete
from memorax.core.types import Array, Key
from memorax.environments.environment import EnvParams, EnvState
from memorax.environments.memory.parts.picture import GRAY, GREEN, RED, WHITE, YELLOW, characters, paint
from memorax.environments.memory.parts.prng import fair_coin
from memorax.environments.memory.parts.task import Task, clip_action

_UP, _DOWN, _RIGHT, _LEFT = range(4)
_ENDLESS = np.iinfo(np.int32).max


@struct.dataclass
class TMazeParams(EnvParams):
    """Parameters of TMaze.

    Attributes:
        length: Cells of the corridor between start and junction, int32.
        max_steps_in_episode: Time limit in steps, int32.
    """

    length: Array | np.int32
    max_steps_in_episode: Array | np.int32


@struct.dataclass
class TMazeState(EnvState):
    """State of TMaze.

    Attributes:
        time: Completed steps.
        position: Cell: 0 is the start, `length + 1` the junction, int32.
        goal: 0 up, 1 down, int32.
    """

    position: Array
    goal: Array


class TMaze(Task[TMazeState, TMazeParams]):
    """See a sign at the start of a corridor and turn where it pointed at the end.

    The start shows where the goal is, then come `length` corridor cells, then the junction. Up and down do nothing
    before the junction, walls stop the agent. Back at the start the sign is visible again.

    * Observation: float32 `[4]`: goal is up, goal is down (both 0 away from the start), in the corridor, at the
      junction.
    * Action: up, down, right, left, `Discrete(4)`.
    * Reward: 4 for the correct turn, -0.1 for the wrong one, otherwise 0.
    * Length: `length + 2` steps at best, ended by termination; unbounded unless `max_steps` is given, after which the
      episode is truncated.
    * Returns: 4 with memory, 2 at best without it.

    Source: Bakker (2001), Reinforcement Learning with Long Short-Term Memory,
    https://papers.nips.cc/paper/1953-reinforcement-learning-with-long-short-term-memory.
    """

    optimal_return = 4.0
    # Walk and turn up where the sign says up; where it says down, never leave: a wrong turn costs, waiting does not.
    memoryless_return = 2.0

    def __init__(self, length: int = 10, *, max_steps: int | None = None) -> None:
        """Create the maze.

        Args:
            length: Cells of the corridor between start and junction, at least 1.
            max_steps: Time limit of an episode in steps; None for no limit.

        Raises:
            TypeError: If `length` or `max_steps` is not an integer.
            ValueError: If `length` is below 1, or `max_steps` too short to reach the goal.
        """
        self.length = check("length", length, steps())
        self.max_steps = None if max_steps is None else check("max_steps", max_steps, steps(self.length + 2))

    @property
    def default_params(self) -> TMazeParams:
        """Parameters that `reset` and `step` use by default."""
        max_steps = _ENDLESS if self.max_steps is None else self.max_steps
        return TMazeParams(length=np.int32(self.length), max_steps_in_episode=np.int32(max_steps))

    def draw_start(self, key: Key, params: TMazeParams) -> Array:
        """Draw the side of the goal, 0 up or 1 down."""
        return fair_coin(key).astype(jnp.int32)

    def start(self, drawn: Array, params: TMazeParams) -> tuple[Array, TMazeState]:
        """Put the agent at the sign."""
        zero = jnp.zeros((), jnp.int32)
        state = TMazeState(time=zero, position=zero, goal=jnp.asarray(drawn, jnp.int32))
        return self._observe(state, params), state

    def _observe(self, state: TMazeState, params: TMazeParams) -> Array:
        at_start, at_junction = state.position == 0, state.position == params.length + 1
        signs = [at_start & (state.goal == 0), at_start & (state.goal == 1), ~at_start & ~at_junction, at_junction]
        return jnp.stack(signs).astype(jnp.float32)

    def transition(
        self, state: TMazeState, action: Array, drawn: Any, params: TMazeParams
    ) -> tuple[Array, TMazeState, Array, Array]:
        """Move, or turn at the junction."""
        action = clip_action(action, 4)
        junction = jnp.asarray(params.length, jnp.int32) + 1
        turned = (state.position == junction) & ((action == _UP) | (action == _DOWN))
        right_way = action == jnp.where(state.goal == 0, _UP, _DOWN)
        reward = jnp.where(turned, jnp.where(right_way, 4.0, -0.1), 0.0)
        move = (action == _RIGHT).astype(jnp.int32) - (action == _LEFT).astype(jnp.int32)
        position = jnp.clip(state.position + move, 0, junction)
        state = TMazeState(time=state.time + 1, position=position, goal=state.goal)
        return self._observe(state, params), state, reward, turned

    def is_truncated(self, state: TMazeState, params: TMazeParams) -> Array:
        """Whether the time limit is reached."""
        return state.time >= params.max_steps_in_episode

    def action_space(self, params: TMazeParams | None = None) -> Discrete:
        """Up, down, right, left."""
        return Discrete(4)

    def observation_space(self, params: TMazeParams | None = None) -> Box:
        """Two signs and two places."""
        return Box(0.0, 1.0, (4,))

    def horizon(self, params: TMazeParams | None = None) -> int | None:
        """The time limit, if there is one."""
        steps = int((params or self.default_params).max_steps_in_episode)
        return None if steps == _ENDLESS else steps

    def memory_length(self, params: TMazeParams | None = None) -> int:
        """From the start to the junction."""
        return int((params or self.default_params).length) + 1

    def credit_length(self, params: TMazeParams | None = None) -> int:
        """The turn is rewarded at once."""
        return 1

    def render(self, state: TMazeState, params: TMazeParams | None = None) -> Array:
        """The maze from above: the sign yellow, the goal green, the agent a red disk."""
        junction = int((params or self.default_params).length) + 1
        colors = jnp.full((3, junction + 1), GRAY).at[1].set(WHITE).at[::2, junction].set(WHITE)
        colors = colors.at[1, 0].set(YELLOW).at[2 * state.goal, junction].set(GREEN)
        return paint(colors, jnp.zeros_like(colors).at[1, state.position].set(characters("o")[0]), RED)
