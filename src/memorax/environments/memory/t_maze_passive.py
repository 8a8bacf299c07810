"""TMazePassive: a T-maze with a deadline, to test memory alone."""

from memorax.environments.memory.deadline_t_maze import DeadlineTMaze


class TMazePassive(DeadlineTMaze):
    """Start at the oracle, walk a corridor, turn to the side it named before the deadline.

    A test of memory alone: what matters is decided in the last step. Being in a goal cell early does not end the
    episode.

    * Observation: float32 `[2]`: whether at the junction, and the goal (-1 or 1) when the oracle is first seen, the
      side (-1, 0, 1) at the junction, otherwise 0.
    * Action: right, up, left, down, `Discrete(4)`; blocked moves stay.
    * Reward: before the end `penalty` for a step that leaves the agent behind a straight walk; at the end 1 in the
      right goal cell, otherwise 0.
    * Length: `length + 1` steps, ended by termination.
    * Returns: 1 with memory, 0.5 at best without it.

    Source: Ni et al. (2023), When Do Transformers Shine in RL? Decoupling Memory from Credit Assignment,
    https://arxiv.org/abs/2307.03864.
    """

    _oracle = 0
