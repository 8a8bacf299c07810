"""LabyrinthEscape: find the way out of a maze."""

import jax.numpy as jnp

from memorax.core.types import Array
from memorax.environments.memory.labyrinth import PAY_A_STEP, Labyrinth, LabyrinthState


class LabyrinthEscape(Labyrinth):
    """Find the exit of a maze, which lies in the wall opposite to the entrance.

    Mazes are made by hunt and kill on n x n cells, and are S = 2n + 1 wide and high with their walls. The agent begins
    in the entrance. To know what the last action did takes the previous observation.

    * Observation: float32 `[50]`: nine cells row by row, one-hot each (free, wall, entrance, exit, never used), and
      the last action (left, right, up, down, none yet), one-hot. The cells are the 3x3 block around the agent; in the
      first row or column of the maze they are those from the agent on, with walls in place of what is missing.
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
        return out - PAY_A_STEP, out
