"""The state of a run."""

import dataclasses
from typing import Any

from flax import struct

from memorax.acting.normalization import Scales
from memorax.acting.vector_env import RolloutState
from memorax.core.hyperparameters import replaced
from memorax.core.step_count import StepCount
from memorax.core.types import Array, PyTree


@struct.dataclass
class State:
    """A whole run: arrays only, so that it can be saved, mapped over seeds and sharded over devices.

    Attributes:
        step: Transitions of all environments so far; `int(state.step)` is the number.
        loop: State of the environments, and of the agent's memory in them.
        learner: Parameters, optimizer states and whatever else the algorithm learns.
        buffer: State of the replay buffer; None for on-policy algorithms.
        scales: Running statistics that observations and rewards are normalized by; None without normalization.
        hyperparameters: The real numbers of the configuration and of adjustable optimizers, by name, float32 `[]`.
    """

    step: StepCount
    loop: RolloutState
    learner: PyTree
    buffer: PyTree = None
    scales: Scales | None = None
    hyperparameters: dict[str, Array] = dataclasses.field(default_factory=dict)

    def with_hyperparameters(self, **values: Any) -> "State":
        """Give the state with other values of hyperparameters, from here on.

        They are not checked, as those of a configuration are, and may be traced. Nothing is compiled again.

        Args:
            **values: Numbers by name; arrays `[seeds]` for a state of several seeds.

        Raises:
            ValueError: There is no such hyperparameter.
        """
        return dataclasses.replace(self, hyperparameters=replaced(self.hyperparameters, values))
