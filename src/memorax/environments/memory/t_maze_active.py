"""TMazeActive: a T-maze with a deadline whose oracle must be asked first, to test memory and credit assignment."""

from memorax.environments.memory.deadline_t_maze import DeadlineTMaze


class TMazeActive(DeadlineTMaze):
    """Walk one step back to the oracle first, then the corridor, then turn to the side it named.

    A test of memory and of credit assignment: asking the oracle pays only at the end.

    * Observation, action, reward: as TMazePassive; one step of delay for the way to the oracle is free.
    * Length: `length + 3` steps, ended by termination.
    * Returns: 1 with memory, 0.5 at best without it (unknown with `penalty="action"`).

    Source: Ni et al. (2023), https://arxiv.org/abs/2307.03864.
    """

    _oracle = 1
