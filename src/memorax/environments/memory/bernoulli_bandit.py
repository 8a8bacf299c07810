"""BernoulliBandit: arms that pay with probabilities that stay the same for a trial of several episodes."""

from functools import cache

import numpy as np

from memorax.core.types import Array, Key
from memorax.environments.memory.chance import uniform
from memorax.environments.memory.one_good_arm import OneGoodArm

_MOST_PULLS = 60  # of longer trials with two Bernoulli arms the optimum is not computed


class BernoulliBandit(OneGoodArm):
    """Find out which arm pays most often, while earning as much as possible.

    As OneGoodArm, but every arm pays with a probability that is drawn uniformly for each trial.

    * Observation, * Action, * Reward and * Length are those of OneGoodArm.
    * Returns: `1 / 2` at random and at best without memory; the optimum, averaged over a trial, is computed for two
      arms and up to 60 pulls, and unknown otherwise.

    Source: Duan et al. (2016), https://arxiv.org/abs/1611.02779, as for OneGoodArm.
    """

    def __init__(self, pulls: int = 20, *, arms: int = 2, episodes_per_trial: int = 1) -> None:
        """Set up the arms; see OneGoodArm."""
        super().__init__(pulls, arms=arms, episodes_per_trial=episodes_per_trial)

    def _returns(self) -> tuple[float, float | None]:
        known = self.arms == 2 and self.steps_per_trial <= _MOST_PULLS
        return 0.5, _best_of_two(self.steps_per_trial) / self.steps_per_trial if known else None

    def _draw_arms(self, key: Key) -> Array:
        return uniform(key, (self.arms,))


@cache
def _best_of_two(pulls: int) -> float:
    """Expected wins of the best policy for two arms with uniform priors: the optimum over all states, backwards."""
    won = np.arange(pulls + 1)
    value = np.zeros((pulls + 2, pulls + 2, pulls + 2))  # [pulls of the first arm, wins of the first, of the second]
    for time in range(pulls - 1, -1, -1):
        first = np.arange(time + 1)[:, None, None]
        wins, others = won[None, :, None], won[None, None, :]
        chance, other = (wins + 1) / (first + 2), (others + 1) / (time - first + 2)
        now, later = value[: time + 1, :-1, :-1], value[1 : time + 2, :-1, :-1]
        pull_first = chance * (1 + value[1 : time + 2, 1:, :-1]) + (1 - chance) * later
        pull_second = other * (1 + value[: time + 1, :-1, 1:]) + (1 - other) * now
        value[: time + 1, :-1, :-1] = np.maximum(pull_first, pull_second)
    return float(value[0, 0, 0])
