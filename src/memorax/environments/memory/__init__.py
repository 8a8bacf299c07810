"""The embedded memory tasks: a file a task, a line a registration."""

from collections.abc import Callable
from functools import partial
from typing import Any

from memorax.environments.memory.repeat_first import RepeatFirst as RepeatFirst
from memorax.environments.memory.repeat_previous import RepeatPrevious as RepeatPrevious
from memorax.environments.memory.task import DIFFICULTIES
from memorax.environments.memory.task import Task as Task

_GRADED = (RepeatPrevious, RepeatFirst)

TASKS: dict[str, Callable[..., Task[Any, Any]]] = {
    f"{task.__name__}{difficulty}": partial(task, difficulty) for task in _GRADED for difficulty in DIFFICULTIES
}
"""Every embedded task by name; the entries make it from its keyword arguments."""
