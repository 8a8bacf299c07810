"""Wrappers that hide or stack observations, for discrete ones; what is hidden differs from everything seen."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.fast_compile import jit

from memorax.core.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple, blank, with_blank
from memorax.environments import Environment, EnvState
from memorax.environments.wrappers import DelayedObservation, FlickeringObservation, FrameStack, PeriodicObservation
from memorax.testing import check_environment

SPACE = Dict(
    {
        "card": Discrete(3, np.uint8),
        "hand": MultiDiscrete([[2, 3]]),
        "more": Tuple([MultiBinary(2), Box(1.0, 9.0, (2,))]),
        "action_mask": Box(0, 1, (4,), bool),
    }
)
STEPS = 23


class Cards(Environment):
    """Shows random cards, hands and flags in episodes of six steps, and which of four actions are allowed."""

    def reset_env(self, key, params):
        return self.draw(key), EnvState(time=jnp.int32(0))

    def draw(self, key):
        seen = SPACE.sample(key)
        return {**seen, "action_mask": seen["action_mask"].at[0].set(True)}

    def step_env(self, key, state, action, params):
        time = state.time + 1
        return self.draw(key), EnvState(time=time), jnp.float32(0), time >= 6, {}

    def action_space(self, params=None):
        return Discrete(4)

    def observation_space(self, params=None):
        return SPACE


def walk(env):
    """Observations `[STEPS + 1]`, and how many steps their episodes are old."""

    def step(carry, key):
        state, age = carry
        observation, state, _, terminated, _, _ = env.step(key, state, jnp.int32(0))
        age = jnp.where(terminated, 0, age + 1)
        return (state, age), (observation, age)

    first, state = env.reset(jax.random.key(0))
    keys = jax.random.split(jax.random.key(1), STEPS)
    _, (later, ages) = jax.lax.scan(step, (state, jnp.int32(0)), keys)
    joined = jax.tree.map(lambda x, y: np.concatenate([np.asarray(x)[None], np.asarray(y)]), first, later)
    return joined, np.concatenate([[0], np.asarray(ages)])


SEEN, AGES = walk(Cards())
LEAVES = [np.asarray(x) for x in (3, [[2, 3]], [0, 0], [0.0, 0.0])]


def expected(source):
    """What is shown where `source` gives, for each step, the step that is shown, or None for nothing."""
    shown = {name: part for name, part in SEEN.items() if name != "action_mask"}
    leaves, structure = jax.tree.flatten(shown)
    rows = [source(t) for t in range(STEPS + 1)]
    wanted = [
        np.stack([hidden if row is None else leaf[row] for row in rows]).astype(leaf.dtype)
        for leaf, hidden in zip(leaves, LEAVES, strict=True)
    ]
    return jax.tree.unflatten(structure, wanted) | {"action_mask": SEEN["action_mask"]}


WRAPPERS = {
    "delay": (lambda env: DelayedObservation(env, 2), lambda t: t - 2 if AGES[t] >= 2 else None),
    "period": (lambda env: PeriodicObservation(env, 3), lambda t: t if AGES[t] % 3 == 0 else None),
    "all hidden": (lambda env: FlickeringObservation(env, 1.0), lambda t: None),
    "none hidden": (lambda env: FlickeringObservation(env, 0.0), lambda t: t),
}


@pytest.mark.parametrize("name", WRAPPERS)
def test_what_is_hidden_is_blank_and_the_mask_stays(name):
    wrap, source = WRAPPERS[name]
    env = wrap(Cards())
    shown, _ = walk(env)
    jax.tree.map(np.testing.assert_array_equal, shown, expected(source))
    assert jax.tree.map(lambda x: x.dtype, shown) == env.observation_space().dtype
    assert jit(jax.vmap(env.observation_space().contains))(shown).all()


def test_the_space_has_a_number_for_nothing():
    space = DelayedObservation(Cards(), 1).observation_space()
    assert space["card"] == Discrete(4, np.uint8)
    assert space["hand"] == MultiDiscrete([[3, 4]])
    assert space["more"] == Tuple([MultiBinary(2), Box(0.0, 9.0, (2,))])
    assert space["action_mask"] == SPACE["action_mask"]


def test_stacked_numbers_are_a_number_each():
    env = FrameStack(Cards(), 3)
    space, (shown, _) = env.observation_space(), walk(env)
    assert space["card"] == MultiDiscrete([3, 3, 3], np.uint8)
    assert space["hand"] == MultiDiscrete([[2, 3, 2, 3, 2, 3]])
    assert space["more"] == Tuple([MultiBinary(6), Box(1.0, 9.0, (6,))])
    assert jit(jax.vmap(space.contains))(shown).all()
    for t in range(STEPS + 1):
        frames = [t - min(back, AGES[t]) for back in (2, 1, 0)]
        np.testing.assert_array_equal(shown["card"][t], SEEN["card"][frames])
        np.testing.assert_array_equal(shown["hand"][t], np.concatenate(SEEN["hand"][frames], -1))
    np.testing.assert_array_equal(shown["action_mask"], SEEN["action_mask"])


@pytest.mark.parametrize("wrap", [*(wrap for wrap, _ in WRAPPERS.values()), lambda env: FrameStack(env, 2)])
def test_the_contract_holds(wrap):
    check_environment(wrap(Cards()), steps=20)


def test_a_dtype_without_room_for_nothing_is_refused():
    with pytest.raises(ValueError, match="`dtype` of Discrete must hold numbers up to 256, got uint8; take a wider"):
        with_blank(Discrete(256, np.uint8))


def test_the_blank_is_in_the_space_with_it_and_not_in_that_without():
    seen = SPACE.sample(jax.random.key(0))
    nothing = blank(SPACE, seen)
    assert with_blank(SPACE).contains(nothing)
    for name in ("card", "hand", "more"):
        assert not SPACE[name].contains(nothing[name])
