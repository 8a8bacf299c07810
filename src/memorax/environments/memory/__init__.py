"""The embedded memory tasks: a file a task, a line a registration."""

from collections.abc import Callable
from functools import partial
from typing import Any

from memorax.environments.memory.cart_pole import NoisyPositionOnlyCartPole as NoisyPositionOnlyCartPole
from memorax.environments.memory.cart_pole import PositionOnlyCartPole as PositionOnlyCartPole
from memorax.environments.memory.deadline_t_maze import TMazeActive as TMazeActive
from memorax.environments.memory.deadline_t_maze import TMazePassive as TMazePassive
from memorax.environments.memory.memory_chain import MemoryChain as MemoryChain
from memorax.environments.memory.repeat_first import RepeatFirst as RepeatFirst
from memorax.environments.memory.repeat_previous import RepeatPrevious as RepeatPrevious
from memorax.environments.memory.t_maze import TMaze as TMaze
from memorax.environments.memory.task import DIFFICULTIES
from memorax.environments.memory.task import Task as Task

_GRADED = (RepeatPrevious, RepeatFirst, PositionOnlyCartPole, NoisyPositionOnlyCartPole)
_SCALED = (TMaze, TMazePassive, TMazeActive, MemoryChain)

TASKS: dict[str, Callable[..., Task[Any, Any]]] = {
    **{task.__name__: task for task in _SCALED},
    **{f"{task.__name__}{level}": partial(task, level) for task in _GRADED for level in DIFFICULTIES},
}
"""Every embedded task by name; the entries make it from its keyword arguments."""
