"""ResetPool: the same episodes, at the cost of only those resets that are needed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

from memorax.core.spaces import Box, Discrete
from memorax.environments import Environment, EnvParams, EnvState, make, register
from memorax.environments.memory import OneGoodArm
from memorax.environments.wrappers import ResetPool, TimeLimit

COUNTED = []


@struct.dataclass
class DiceParams(EnvParams):
    sides: jax.Array | np.int32 = np.int32(6)


@struct.dataclass
class DiceState(EnvState):
    length: jax.Array
    key: jax.Array


class Dice(Environment):
    """An episode lasts as long as its die says; `reset_env` counts how often it is computed."""

    counts = False

    @property
    def default_params(self):
        return DiceParams()

    def reset_env(self, key, params):
        if self.counts:
            jax.debug.callback(lambda _: COUNTED.append(1), jax.random.key_data(key))
        length = jax.random.randint(key, (), 1, params.sides + 1)
        return length.astype(jnp.float32)[None], DiceState(time=jnp.int32(0), length=length, key=key)

    def step_env(self, key, state, action, params):
        state = state.replace(time=state.time + 1)
        observation = (state.length - state.time).astype(jnp.float32)[None]
        return observation, state, jax.random.uniform(key), state.time >= state.length, {"time": state.time}

    def action_space(self, params=None):
        return Discrete(2)

    def observation_space(self, params=None):
        return Box(0.0, 100.0, (1,))


def walk(env, key, params, steps=40):
    """Observations, rewards and ends of a random walk, and how long each episode was."""

    def act(state, key):
        observation, after, reward, terminated, truncated, info = env.step(key, state, jnp.int32(0), params)
        seen = (observation, info["final_observation"], reward, terminated, truncated, info["time"])
        return after, (*seen, after.length, jax.random.key_data(after.key))

    reset_key, step_key = jax.random.split(key)
    start, state = env.reset(reset_key, params)
    return start, jax.lax.scan(act, state, jax.random.split(step_key, steps))[1]


def assert_equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.mark.parametrize("size", [1, 3, 100])
def test_episodes_are_those_without_a_pool(size):
    """Under `jax.vmap` of environments and of seeds too, whatever the pool's size."""
    plain, pool = Dice(), ResetPool(Dice(), size)
    params, keys = DiceParams(), jax.random.split(jax.random.key(0), (3, 17))
    for batch in (keys[0, 0], keys[0], keys):

        def play(env, batch=batch):
            run = lambda key: walk(env, key, params)  # noqa: E731
            for _ in batch.shape:
                run = jax.vmap(run)
            return jax.jit(run)(batch)

        expected = play(plain)
        assert_equal(play(pool), expected)
        assert np.asarray(expected[1][3]).any()


def test_parameters_may_be_traced_and_differ():
    params = DiceParams(sides=jnp.arange(1, 6))
    keys = jax.random.split(jax.random.key(0), (4, 5))

    def play(env):
        over_params = jax.vmap(lambda key, params: walk(env, key, params))
        return jax.jit(jax.vmap(over_params, in_axes=(0, None)))(keys, params)

    assert_equal(play(ResetPool(Dice(), 2)), play(Dice()))
    shared = jax.jit(jax.vmap(lambda key, p: walk(ResetPool(Dice(), 2), key, p)[1][6], in_axes=(0, None)))
    assert shared(keys[0], DiceParams(sides=jnp.int32(2))).max() == 2


def test_only_what_is_needed_is_computed():
    """As many resets as episodes that ended, rounded up to the pool's size: none where none ended."""
    env = Dice()
    env.counts = True
    pool = ResetPool(env, 2)
    lengths = jnp.array([1, 1, 1, 5, 5, 5, 5, 5])
    state = DiceState(jnp.zeros(8, jnp.int32), lengths, jax.random.split(jax.random.key(0), 8))
    step = jax.jit(jax.vmap(lambda key, state: pool.step(key, state, jnp.int32(0))[:4]))
    keys = jax.random.split(jax.random.key(1), 8)
    COUNTED.clear()
    _, _, _, ended = jax.block_until_ready(step(keys, state))
    jax.effects_barrier()
    assert (int(ended.sum()), len(COUNTED)) == (3, 4)
    COUNTED.clear()
    _, _, _, ended = jax.block_until_ready(step(keys, state.replace(length=jnp.full(8, 9))))
    jax.effects_barrier()
    assert (int(ended.sum()), len(COUNTED)) == (0, 0)


def test_make_takes_it():
    register("pool_test::Dice", Dice)
    env, params = make("pool_test::Dice", reset_pool=4)
    assert (type(env), env.reset_pool, params.sides) == (ResetPool, 4, 6)
    assert type(make("pool_test::Dice")[0]) is Dice


def test_errors():
    with pytest.raises(ValueError, match="`size` must be"):
        ResetPool(Dice(), 0)
    with pytest.raises(TypeError, match="`size` must be"):
        ResetPool(Dice(), 2.5)
    for inner in (TimeLimit(Dice(), 3), OneGoodArm(3)):
        with pytest.raises(TypeError, match=f"does nothing but reset, got {type(inner).__name__}"):
            ResetPool(inner, 2)
