"""Every embedded environment by every property; and broken environments, which the properties must reject."""

import functools

import jax
import jax.numpy as jnp
import pytest
from tests.conformance import environments as conformance

from memorax.core.spaces import Box, Discrete
from memorax.environments import ENVIRONMENTS, Environment, EnvState, make


def embedded():
    """Every embedded environment; of those whose rules are one method, all but the first are for the slow run."""
    families = set()
    for name in ENVIRONMENTS:
        if name.startswith("memory::"):
            kind = type(make(name)[0])
            family = next(parent for parent in kind.__mro__ if "transition" in vars(parent))
            yield pytest.param(name, marks=[pytest.mark.slow] if family in families else [])
            families.add(family)


EMBEDDED = list(embedded())


@functools.cache
def world(name):
    return conformance.visit(*make(name))


@pytest.mark.parametrize("name", EMBEDDED)
@pytest.mark.parametrize("holds", conformance.PROPERTIES, ids=lambda p: p.__name__)
def test_property(name, holds):
    holds(world(name))


class Walk(Environment):
    """A healthy environment: count steps towards the right until there are three.

    * Observation, * Action, * Reward, * Length: see the code. Source: none.
    """

    def reset_env(self, key, params):
        state = EnvState(time=jnp.zeros((), jnp.int32))
        return jax.random.uniform(key, (2,)), state

    def step_env(self, key, state, action, params):
        state = EnvState(time=state.time + 1)
        observation = jax.random.uniform(key, (2,))
        return observation, state, jnp.float32(jnp.clip(action, 0, 1)), state.time >= 3, {}

    def action_space(self, params=None):
        return Discrete(2)

    def observation_space(self, params=None):
        return Box(0.0, 1.0, (2,))

    def horizon(self, params=None):
        return 3


def test_healthy_environments_pass():
    conformance.keeps_its_types(conformance.World(Careless(), Careless().default_params, print, {}))
    healthy = conformance.visit(Walk(), Walk().default_params)
    for holds in conformance.PROPERTIES:
        if holds is not conformance.tells_its_facts:
            holds(healthy)


class WeakTime(Walk):
    def reset(self, key, params=None):
        return super().reset(key, params)[0], EnvState(time=jnp.asarray(0))


class Careless(Walk):
    """Python numbers everywhere: the base class makes arrays of them.

    * Observation, * Action, * Reward, * Length, Source: as above.
    """

    def reset_env(self, key, params):
        return super().reset_env(key, params)[0], EnvState(time=0)

    def step_env(self, key, state, action, params):
        observation, state, *_ = super().step_env(key, state, action, params)
        return observation, state, 1, state.time >= 3, {}


class WholeReward(Walk):
    def step(self, key, state, action, params=None):
        observation, state, reward, *rest = super().step(key, state, action, params)
        return observation, state, reward.astype(jnp.int32), *rest


class LeavesItsSpace(Walk):
    def step_env(self, key, state, action, params):
        observation, *rest = super().step_env(key, state, action, params)
        return observation + state.time, *rest


class ForgetsToReset(Walk):
    def step(self, key, state, action, params=None):
        observation, _, *rest = super().step(key, state, action, params)
        raw = self.step_env(jax.random.split(key)[0], state, action, params)
        return observation, EnvState(time=raw[1].time), *rest


class LosesTheFinalObservation(Walk):
    def step(self, key, state, action, params=None):
        observation, *rest, info = super().step(key, state, action, params)
        return observation, *rest, info | {"final_observation": observation}


class MergesTheEnds(Walk):
    def step(self, key, state, action, params=None):
        observation, state, reward, terminated, truncated, info = super().step(key, state, action, params)
        return observation, state, reward, terminated, terminated | truncated, info


class NeverEnds(Walk):
    def step_env(self, key, state, action, params):
        *rest, _, info = super().step_env(key, state, action, params)
        return *rest, jnp.zeros((), bool), info


class EndsLate(Walk):
    def horizon(self, params=None):
        return 2


class IgnoresItsKey(Walk):
    def reset_env(self, key, params):
        return super().reset_env(jax.random.key(0), params)

    def step_env(self, key, state, action, params):
        return super().step_env(jax.random.key(0), state, action, params)


class TakesAnyAction(Walk):
    def step_env(self, key, state, action, params):
        observation, state, _, *rest = super().step_env(key, state, action, params)
        return observation, state, jnp.float32(action), *rest


class PaintsNothing(Walk):
    def render(self, state, params=None):
        return jnp.zeros((4, 6, 3), jnp.uint8)


@pytest.mark.parametrize(
    ("broken", "rejects"),
    [
        (WeakTime, conformance.keeps_its_types),
        (WholeReward, conformance.keeps_its_types),
        (LeavesItsSpace, conformance.stays_in_its_spaces),
        (ForgetsToReset, conformance.resets_in_the_step_that_ends),
        (ForgetsToReset, conformance.ends_by_its_horizon),
        (LosesTheFinalObservation, conformance.resets_in_the_step_that_ends),
        (MergesTheEnds, conformance.resets_in_the_step_that_ends),
        (NeverEnds, conformance.ends_by_its_horizon),
        (EndsLate, conformance.ends_by_its_horizon),
        (IgnoresItsKey, conformance.is_repeatable),
        (TakesAnyAction, conformance.clips_its_actions),
        (PaintsNothing, conformance.paints_its_state),
        (Walk, conformance.tells_its_facts),
    ],
)
def test_a_broken_environment_is_rejected(broken, rejects):
    if broken is Walk:
        broken = type("Undocumented", (Walk,), {"__doc__": "No rules."})
    if broken is WeakTime:
        with pytest.raises(AssertionError):
            rejects(conformance.World(broken(), broken().default_params, print, {}))
        return
    # Operation by operation: what one of these compiles, the next can use.
    with jax.disable_jit():
        visited = conformance.visit(broken(), broken().default_params, steps=9)
        with pytest.raises(AssertionError):
            rejects(visited)
