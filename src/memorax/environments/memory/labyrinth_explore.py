"""LabyrinthExplore: visit every corner of a maze."""

import jax.numpy as jnp

from memorax.core.types import Array
from memorax.environments.memory.bitboard import at, count
from memorax.environments.memory.labyrinth import PAY_A_STEP, Labyrinth, LabyrinthState


class LabyrinthExplore(Labyrinth):
    """Visit all that is open in a maze; there is no exit.

    Mazes are made by hunt and kill on n x n cells, and are S = 2n + 1 wide and high with their walls. The agent begins
    in the entrance. Where it has been is not shown.

    * Observation: float32 `[50]`: nine cells row by row, one-hot each (free, wall, entrance, two never used), and the
      last action (left, right, up, down, none yet), one-hot. The cells are the 3x3 block around the agent; in the
      first row or column of the maze they are those from the agent on, with walls in place of what is missing.
    * Action: left, right, up, down, `Discrete(4)`; walls stop the agent.
    * Reward: `1 / F` where the agent is for the first time, F being the open places without the entrance
      (2 n n - 1 of them), otherwise -1/1024.
    * Length: up to 1023 steps; terminated when all is visited, truncated at 1023.
    * Easy, Medium, Hard: n = 5, 7, 9.

    Source: Morad et al. (2023), POPGym: Benchmarking Partially Observable Reinforcement Learning,
    https://arxiv.org/abs/2303.01859.
    """

    _has_exit = False

    def _judge(self, before: LabyrinthState, after: LabyrinthState) -> tuple[Array, Array]:
        new = ~at(before.seen, *after.position)
        return jnp.where(new, 1 / (count(after.open) - 1), -PAY_A_STEP), jnp.all(after.seen == after.open)
