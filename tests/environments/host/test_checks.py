"""What is said of an environment in Python that does not fit."""

import sys
import types
from functools import partial
from typing import Any

import gymnasium
import jax
import numpy as np
import pytest
from gymnasium.vector import SyncVectorEnv
from tests.environments.host.toys import Walk

from memorax.environments import MissingExtraError, as_environment, as_host, make
from memorax.environments.host import HostEnvironment
from memorax.environments.wrappers import FrameStack


class OldReset(Walk):
    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        return super().reset(seed=seed)[0]


class OldStep(Walk):
    def step(self, action: Any) -> Any:
        observation, reward, terminated, truncated, info = super().step(action)
        return observation, reward, terminated or truncated, info


class WrongShape(Walk):
    def _observe(self) -> Any:
        return np.zeros(3, np.float32)


class Listed(Walk):
    def _observe(self) -> Any:
        return [0.0, 1.0]


class Fractions(Walk):
    observation_space = gymnasium.spaces.Box(0, 9, (2,), np.int64)


class VectorReward(Walk):
    def step(self, action: Any) -> Any:
        observation, reward, *rest = super().step(action)
        return observation, np.array([reward, reward]), *rest


class Graph(Walk):
    observation_space = gymnasium.spaces.Graph(gymnasium.spaces.Box(-1, 1, (1,)), None)


FAULTS = {
    OldReset: r"`reset` of OldReset must return \(observation, info\), got an array of shape \(2,\); .*old gym",
    OldStep: r"`step` of OldStep must return .*truncated, info\), got 4 values; those of the old gym",
    WrongShape: r"observation of WrongShape must be in Box\(.*\(2,\), float32\), got an array of shape \(3,\)",
    Listed: r"observation of Listed must be an array, as Box.* says, got a list",
    Fractions: r"observation of Fractions must be in Box.*, got dtype float32",
    VectorReward: r"`reward` of VectorReward must be a scalar, got an array of shape \(2,\)",
    Graph: r"`observation_space` of Graph must have a counterpart, got Graph",
}


@pytest.mark.parametrize("cls", FAULTS)
@pytest.mark.parametrize("limited", [False, True])
def test_a_fault_is_named_in_one_sentence(cls, limited):
    def build() -> Any:
        return gymnasium.wrappers.TimeLimit(cls(), 5) if limited else cls()

    with pytest.raises((TypeError, ValueError), match=FAULTS[cls]):
        as_environment(build)


def test_an_environment_that_resets_by_itself_is_refused():
    with pytest.raises(ValueError, match="Walk must not reset by itself, got a wrapper Autoreset; leave it out"):
        as_host(lambda: gymnasium.wrappers.Autoreset(Walk()))


def test_a_vector_environment_that_cannot_reset_some_is_refused():
    class Stubborn(SyncVectorEnv):
        def reset(self, *, seed: Any = None, options: Any = None) -> Any:
            if options:
                raise TypeError("no options")
            return super().reset(seed=seed)

    with pytest.raises(ValueError, match=r"must reset in the step that ends an episode.*no options.*SAME_STEP"):
        as_host(lambda: Stubborn([Walk, Walk]))
    # It takes any option, and resets all of its environments.
    with pytest.raises(ValueError, match=r"got a vector environment that does not.*\(it resets all of them\)"):
        as_host(lambda: gymnasium.make_vec("CartPole-v1", 3, vectorization_mode="vector_entry_point"))
    one = as_host(SyncVectorEnv([Walk] * 4))
    with pytest.raises(ValueError, match="`num_envs` must be 4, as many as SyncVectorEnv has, got 6"):
        one.number_of_groups(6)
    one.source.batch(4)
    with pytest.raises(TypeError, match="`env` must be a function that makes SyncVectorEnv"):
        one.source.batch(4)


def test_what_is_no_environment_is_refused():
    with pytest.raises(TypeError, match=r"got the class Walk; write `lambda: Walk\(...\)`"):
        as_host(Walk)
    with pytest.raises(TypeError, match=r"`env` must be an environment, got the class Walk; write `Walk\(...\)`"):
        as_environment(Walk)
    with pytest.raises(TypeError, match="which returns int"):
        as_environment(lambda: 3)
    with pytest.raises(TypeError, match="must be an environment of gymnasium, or a function that makes one, got 3"):
        as_host(3)


def test_environments_of_other_libraries_are_named(monkeypatch):
    gym = types.ModuleType("gym")
    exec("class Env:\n    def reset(self): ...\n    def step(self, action): ...", vars(gym))
    gym.Env.__module__ = "gym.core"
    monkeypatch.setitem(sys.modules, "gym", gym)
    with pytest.raises(TypeError, match="must be an environment of JAX or of gymnasium, got Env of gym; convert it"):
        as_environment(gym.Env())


def test_a_python_environment_of_no_library_is_named():
    class Homemade:
        action_space, observation_space = Walk.action_space, Walk.observation_space

        def reset(self) -> Any: ...

        def step(self, action: Any) -> Any: ...

    with pytest.raises(TypeError, match=r"`reset` of Homemade must take \(key, params\), got \(\).*`gymnasium.Env`"):
        as_environment(Homemade())


def test_groups_divide_the_environments():
    env = as_host(partial(Walk), groups=3)
    assert env.number_of_groups(6) == 3
    with pytest.raises(ValueError, match=r"`groups` \(3\) must divide the 8 environments of Walk"):
        env.number_of_groups(8)
    with pytest.raises(ValueError, match="`groups` must be at least 1 or None, got 0"):
        as_host(partial(Walk), groups=0)
    with pytest.raises(TypeError, match="`processes`"):
        as_host(partial(Walk), processes="yes")


def test_names_are_suggested():
    env, _ = make("gymnasium::CartPole-v1")
    assert isinstance(env, HostEnvironment)
    assert (env.name, env.horizon()) == ("gymnasium::CartPole-v1", 500)
    with pytest.raises(ValueError, match="unknown environment `gymnasium::CartPool-v1`; nearest: CartPole-v1"):
        make("gymnasium::CartPool-v1")
    with pytest.raises(
        MissingExtraError, match=r"`no_such_robots\.arms` is not installed; run `pip install no_such_robots`"
    ):
        make("gymnasium::no_such_robots.arms:Arm-v0")


def test_an_environment_that_cannot_be_copied_is_made_again_or_refused():
    import threading

    class Locked(Walk):
        def __init__(self) -> None:
            self.lock = threading.Lock()

    with pytest.raises(
        TypeError, match="must be a function that makes Locked, got an environment that cannot be copied"
    ):
        as_host(Locked())
    made = gymnasium.make("CartPole-v1", max_episode_steps=7)
    made.unwrapped.lock = threading.Lock()
    assert as_host(made).horizon() == 7


def test_what_only_works_in_jax_is_refused():
    env = as_host(partial(Walk))
    with pytest.raises(TypeError, match="`reset` and `step` of Walk must not be called: it runs in Python"):
        env.reset(jax.random.key(0))
    with pytest.raises(TypeError, match="`env` of FrameStack must be an environment in JAX, got Walk, which runs in"):
        FrameStack(env, 2)
