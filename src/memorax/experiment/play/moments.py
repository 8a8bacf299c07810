"""What is recorded of an episode."""

import dataclasses

import numpy as np

from memorax.core.types import PyTree


@dataclasses.dataclass(frozen=True)
class Moment:
    """One step of an episode, of one environment.

    Attributes:
        env_state: State of the environment before the action; None where it runs in Python.
        observation: What the agent saw.
        action: What it did, as the environment takes it.
        reward: What it got for it; of several agents `[agents]`.
        value: What return it expected; None if it has no value function of observations.
        picture: What an environment in Python painted before the action, a PNG file; None where it paints nothing.
    """

    env_state: PyTree
    observation: PyTree
    action: np.ndarray
    reward: np.ndarray
    value: np.ndarray | None
    picture: bytes | None = None


@dataclasses.dataclass(frozen=True)
class Episode:
    """An episode.

    Attributes:
        moments: Its steps.
        complete: Whether it was played to its end.
        env_params: Parameters of its environment.
    """

    moments: list[Moment]
    complete: bool
    env_params: PyTree = None

    @property
    def total(self) -> float:
        """The return without discount; of several agents the mean."""
        return float(sum(np.mean(moment.reward) for moment in self.moments))
