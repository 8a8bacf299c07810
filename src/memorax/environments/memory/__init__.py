"""The built-in memory tasks: a file for each family, a line for each registration; mechanisms are in `parts`."""

from collections.abc import Callable
from functools import partial
from typing import Any

from memorax.environments.memory.associative_recall import AssociativeRecall as AssociativeRecall
from memorax.environments.memory.autoencode import Autoencode as Autoencode
from memorax.environments.memory.bandits import BernoulliBandit as BernoulliBandit
from memorax.environments.memory.bandits import OneGoodArm as OneGoodArm
from memorax.environments.memory.battleship import Battleship as Battleship
from memorax.environments.memory.cart_pole import NoisyPositionOnlyCartPole as NoisyPositionOnlyCartPole
from memorax.environments.memory.cart_pole import PositionOnlyCartPole as PositionOnlyCartPole
from memorax.environments.memory.cart_pole import VelocityOnlyCartPole as VelocityOnlyCartPole
from memorax.environments.memory.concentration import Concentration as Concentration
from memorax.environments.memory.copy_task import Copy as Copy
from memorax.environments.memory.copy_task import SelectiveCopy as SelectiveCopy
from memorax.environments.memory.count_recall import CountRecall as CountRecall
from memorax.environments.memory.deadline_t_maze import TMazeActive as TMazeActive
from memorax.environments.memory.deadline_t_maze import TMazePassive as TMazePassive
from memorax.environments.memory.distracted_recall import DistractedRecall as DistractedRecall
from memorax.environments.memory.higher_lower import HigherLower as HigherLower
from memorax.environments.memory.key_to_door import KeyToDoor as KeyToDoor
from memorax.environments.memory.key_to_door_corridor import ActiveKeyToDoor as ActiveKeyToDoor
from memorax.environments.memory.key_to_door_corridor import PassiveKeyToDoor as PassiveKeyToDoor
from memorax.environments.memory.labyrinth import LabyrinthEscape as LabyrinthEscape
from memorax.environments.memory.labyrinth import LabyrinthExplore as LabyrinthExplore
from memorax.environments.memory.memory_chain import MemoryChain as MemoryChain
from memorax.environments.memory.mine_sweeper import MineSweeper as MineSweeper
from memorax.environments.memory.multiarmed_bandit import MultiarmedBandit as MultiarmedBandit
from memorax.environments.memory.parts.task import DIFFICULTIES
from memorax.environments.memory.parts.task import Task as Task
from memorax.environments.memory.pendulum import NoisyPositionOnlyPendulum as NoisyPositionOnlyPendulum
from memorax.environments.memory.pendulum import PositionOnlyPendulum as PositionOnlyPendulum
from memorax.environments.memory.repeat_first import RepeatFirst as RepeatFirst
from memorax.environments.memory.repeat_previous import RepeatPrevious as RepeatPrevious
from memorax.environments.memory.t_maze import TMaze as TMaze
from memorax.environments.memory.umbrella_chain import UmbrellaChain as UmbrellaChain

_GRADED = (
    *(RepeatPrevious, RepeatFirst, Autoencode, CountRecall, HigherLower, Concentration),
    *(Battleship, MineSweeper, MultiarmedBandit, LabyrinthEscape, LabyrinthExplore),
    *(PositionOnlyCartPole, VelocityOnlyCartPole, NoisyPositionOnlyCartPole),
    *(PositionOnlyPendulum, NoisyPositionOnlyPendulum),
)
_STATELESS = {
    "StatelessCartPole": PositionOnlyCartPole,
    "NoisyStatelessCartPole": NoisyPositionOnlyCartPole,
    "StatelessPendulum": PositionOnlyPendulum,
    "NoisyStatelessPendulum": NoisyPositionOnlyPendulum,
}
_SCALED = (
    *(TMaze, TMazePassive, TMazeActive, MemoryChain, UmbrellaChain, Copy, SelectiveCopy, AssociativeRecall),
    *(KeyToDoor, PassiveKeyToDoor, ActiveKeyToDoor, OneGoodArm, BernoulliBandit, DistractedRecall),
)

TASKS: dict[str, Callable[..., Task[Any, Any]]] = {
    **{task.__name__: task for task in _SCALED},
    **{f"{task.__name__}{level}": partial(task, level) for task in _GRADED for level in DIFFICULTIES},
}
"""Every built-in memory task by name; calling an entry with keyword arguments creates it."""

ALIASES: dict[str, str] = {
    f"{alias}{level}": f"{task.__name__}{level}" for alias, task in _STATELESS.items() for level in DIFFICULTIES
}
"""Names in the POPGym paper of tasks that are listed under their names in its package."""
