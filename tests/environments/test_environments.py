"""Every built-in task by every property; broken environments, which the properties reject; a user's environments."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from memorax.core.spaces import Box, Discrete
from memorax.environments import ENVIRONMENTS, Environment, EnvState, make
from memorax.environments.wrappers import TimeLimit
from memorax.testing import check_environment
from memorax.testing import environments as conformance


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
def visited(name):
    return conformance.visit(*make(name))


@pytest.mark.parametrize("name", EMBEDDED)
@pytest.mark.parametrize("holds", [*conformance.PROPERTIES, *conformance.TASK_PROPERTIES], ids=lambda p: p.__name__)
def test_property(name, holds):
    holds(visited(name))


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


@pytest.mark.parametrize("name", EMBEDDED)
def test_episodes_end_and_go_on(name):
    """Otherwise most properties would hold of nothing."""
    log = visited(name).log
    done = np.asarray(log["terminated"] | log["truncated"])
    assert done.any()
    assert not done.all()


def test_healthy_environments_pass():
    conformance.check_types(Careless(), Careless().default_params)
    check_environment(Walk())
    check_environment(TimeLimit(Walk(), 2), steps=9)
    check_environment(SixValues(), steps=9)
    conformance.documents_its_rules(conformance.visit(Walk(), Walk().default_params, steps=9))


class SixValues:
    """An environment of another library: six values, spaces that must be translated, a random key in its state."""

    default_params = None

    def reset(self, key, params):
        return jax.random.uniform(key, (2,)), {"key": key, "steps": jnp.int32(0)}

    def step(self, key, state, action, params):
        final = jax.random.uniform(state["key"], (2,))
        truncated = state["steps"] >= 3
        fresh, start = self.reset(key, params)
        after = {"key": jax.random.split(state["key"])[0], "steps": state["steps"] + 1}
        observation, state = jax.tree.map(lambda a, b: jnp.where(truncated, a, b), (fresh, start), (final, after))
        return observation, state, jnp.float32(action), truncated & False, truncated, {"final_observation": final}

    def action_space(self, params):
        return Discrete(2)

    def observation_space(self, params):
        return Box(0.0, 1.0, (2,))


def test_what_is_no_environment_is_refused_as_by_an_agent():
    with pytest.raises(TypeError, match="`env` must be an environment, got the class Walk"):
        check_environment(Walk)
    with pytest.raises(ValueError, match="`steps` must be at least 2 or None, got 1"):
        check_environment(Walk(), steps=1)


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


class PaysNothingKnown(Walk):
    def step_env(self, key, state, action, params):
        observation, state, reward, *rest = super().step_env(key, state, action, params)
        return observation, state, reward / (action * 0), *rest


class Contradicts(Walk):
    optimal_return, memoryless_return = 1.0, 2.0


class RemembersTooLong(Walk):
    def memory_length(self, params=None):
        return 3


class AllowsNothing(Walk):
    def step_env(self, key, state, action, params):
        *outcome, _ = super().step_env(key, state, action, params)
        return *outcome, {"action_mask": jnp.arange(2) + 1 < state.time}


class KeepsCount(Walk):
    """Impure: every call, or every trace, shows something else."""

    count = 0

    def reset_env(self, key, params):
        self.count += 1
        observation, state = super().reset_env(key, params)
        return observation / self.count, state

    def step_env(self, key, state, action, params):
        self.count += 1
        observation, *rest = super().step_env(key, state, action, params)
        return observation / self.count, *rest


@pytest.mark.parametrize(
    ("broken", "rejects", "message"),
    [
        (WeakTime, "keeps_its_types", "types after a step must be those after a reset"),
        (
            WholeReward,
            "keeps_its_types",
            r"the reward must be \(\(\), 'float32', False\), got \(\(\), 'int32', False\)",
        ),
        (LeavesItsSpace, "stays_in_its_spaces", r"first observations must be in Box\(0, 1, \(2,\), float32\), got \["),
        (ForgetsToReset, "resets_in_the_step_that_ends", "an end must be followed by a reset"),
        (ForgetsToReset, "ends_by_its_horizon", "`time` of the state must be 0 after a reset"),
        (LosesTheFinalObservation, "resets_in_the_step_that_ends", "`final_observation` must be that of `step_env`"),
        (MergesTheEnds, "resets_in_the_step_that_ends", "`truncated` must be that of `is_truncated`"),
        (NeverEnds, "ends_by_its_horizon", r"every episode must end within its horizon \(3 steps\)"),
        (EndsLate, "ends_by_its_horizon", r"no episode may outlast its horizon \(2\): 3"),
        (IgnoresItsKey, "draws_from_its_key", "observations must depend on the key"),
        (KeepsCount, "is_repeatable", r"the same key must give the same episodes \(observation\)"),
        (PaysNothingKnown, "has_finite_rewards", "rewards must be finite, got nan in"),
        (KeepsCount, "batches_like_one", r"under `jax.vmap` a step must do what it does alone \(after\)"),
        (
            Contradicts,
            "states_consistent_facts",
            r"`memoryless_return` \(2.0\) must not exceed `optimal_return` \(1.0\)",
        ),
        (RemembersTooLong, "states_consistent_facts", r"`memory_length` \(3\) must be in \[0, 3\)"),
        (
            AllowsNothing,
            "allows_some_action",
            r"`action_mask` must allow at least one action of Discrete",
        ),
        (TakesAnyAction, "clips_its_actions", "action 6 must be clipped to 1"),
        (PaintsNothing, "renders_its_state", "the image must depend on the state"),
        (Walk, "documents_its_rules", r"the docstring must have `\* Observation`, "),
    ],
)
def test_a_broken_environment_is_rejected(broken, rejects, message):
    if broken is Walk:
        broken = type("Undocumented", (Walk,), {"__doc__": "No rules."})
    env, message = broken(), f"{broken.__name__}: .*{message}"
    if rejects == "keeps_its_types":
        with pytest.raises(AssertionError, match=message):
            conformance.check_types(env, env.default_params)
        return
    if rejects == "batches_like_one":  # traced twice
        visited = conformance.visit(env, env.default_params, steps=9)
        with pytest.raises(AssertionError, match=message):
            getattr(conformance, rejects)(visited)
        return
    # Operation by operation: what one of these compiles, the next can use.
    with jax.disable_jit():
        visited = conformance.visit(env, env.default_params, steps=9)
        with pytest.raises(AssertionError, match=message):
            getattr(conformance, rejects)(visited)
