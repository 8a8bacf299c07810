"""`check_environment` of environments in Python, and of every library that is installed."""

from functools import partial
from typing import Any

import gymnasium
import numpy as np
import pytest
from tests.environments.host.toys import Counter, Recall, Walk, everything

from memorax.environments import make
from memorax.testing import check_environment


class Outside(Walk):
    """Leaves its observation space in the fifth step."""

    observation_space = gymnasium.spaces.Box(-2.0, 4.0, (2,), np.float32)


class Infinite(Recall):
    def step(self, action: Any) -> Any:
        observation, reward, *rest = super().step(action)
        return observation, np.inf if reward else 0.0, *rest


class Unseeded(Walk):
    def reset(self, **options: Any) -> Any:
        _, info = super().reset(**options)
        self.position = int(np.random.default_rng().integers(3))
        return self._observe(), info


class Still(Walk):
    def _observe(self) -> Any:
        return np.zeros(2, np.float32)

    def step(self, action: Any) -> Any:
        return self._observe(), 0.0, False, False, {}


FAULTS = {
    Outside: r"Outside: .* observations must be in Box\(.*, got \[",
    Infinite: "Infinite: rewards must be finite, got inf",
    Unseeded: "Unseeded: the same seeds and actions must give the same episodes",
    Still: "Still: other seeds, with other actions, must give other episodes",
}


@pytest.mark.parametrize("cls", FAULTS)
def test_a_fault_is_found(cls):
    with pytest.raises(AssertionError, match=FAULTS[cls]):
        check_environment(partial(cls), steps=60)


def test_sound_environments_pass():
    check_environment(partial(Recall), steps=40)
    check_environment(partial(Counter), steps=40)
    check_environment(partial(gymnasium.make_vec, "CartPole-v1", 3, vectorization_mode="sync"), steps=40)
    check_environment(everything, steps=9)
    check_environment(make("gymnasium::CartPole-v1")[0], steps=60)
