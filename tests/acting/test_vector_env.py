import jax
import jax.numpy as jnp
import numpy as np
import pytest

from memorax.acting import VectorEnv
from memorax.acting.bootstrap import bootstrap
from memorax.core.spaces import Box, Discrete
from memorax.testing.probe_environments import Clock, LooselyTyped, Masked

NUM_ENVS, NUM_STEPS = 3, 23


def counter(key, carry, timestep):
    """A policy whose memory counts the observations of the episode, in the way all memories are reset."""
    carry = jnp.where(timestep.done, 0, carry) + 1
    return carry, jax.random.randint(key, timestep.done.shape, 0, 3), {"count": carry}


def count(carry, timestep):
    return (jnp.where(timestep.done, 0, carry) + 1).astype(jnp.float32)


def roll(env, value=None, num_steps=NUM_STEPS):
    vector_env = VectorEnv(env, None, NUM_ENVS)
    start = vector_env.reset(jax.random.key(0), jnp.zeros(NUM_ENVS, jnp.int32))
    key = jax.random.key(1)
    roll_out = lambda start: vector_env.rollout(key, start, counter, num_steps, value=value, store_carry=True)  # noqa: E731
    return start, *jax.jit(roll_out)(start)


def test_done_marks_the_first_step_of_every_episode_and_memory_counts_from_there():
    _, after, steps = roll(Clock("terminated"))
    np.testing.assert_array_equal(steps.inputs.done[:, 0], True)
    np.testing.assert_array_equal(steps.inputs.done[:, 1:], steps.done[:, :-1])
    np.testing.assert_array_equal(steps.aux["count"], steps.observation[..., 0] + 1)
    np.testing.assert_array_equal(after.timestep.done, steps.done[:, -1])
    assert steps.done.any(axis=1).all()


def test_inputs_hold_the_action_and_reward_before():
    _, after, steps = roll(Clock("terminated"))
    np.testing.assert_array_equal(steps.inputs.action[:, 1:], steps.action[:, :-1])
    np.testing.assert_array_equal(steps.inputs.reward[:, 1:], steps.reward[:, :-1])
    np.testing.assert_array_equal(after.timestep.action, steps.action[:, -1])


def test_the_recorded_carry_is_the_one_before_the_step():
    start, _, steps = roll(Clock("terminated"))
    np.testing.assert_array_equal(steps.carry[:, 0], start.carry)
    np.testing.assert_array_equal(steps.carry[:, 1:], steps.aux["count"][:, :-1])


def test_a_truncated_episode_is_valued_with_its_own_memory():
    _, _, steps = roll(Clock("truncated"), count)
    assert steps.truncated.any()
    # The value function counts the final observation on top of those that the memory has seen.
    np.testing.assert_array_equal(steps.aux["bootstrap"], np.where(steps.truncated, steps.aux["count"] + 1, 0))


@pytest.mark.parametrize("ends", ["terminated", "both", "never"])
def test_nothing_else_is_bootstrapped(ends):
    _, _, steps = roll(Clock(ends), count)
    assert steps.truncated.any() == (ends == "both")
    np.testing.assert_array_equal(steps.aux["bootstrap"], 0)


def test_episode_statistics_are_those_of_the_last_whole_episode():
    _, _, steps = roll(Clock("terminated"))
    lengths = np.asarray(steps.info["returned_episode_lengths"])
    for b in range(NUM_ENVS):
        ends = np.flatnonzero(steps.done[b])
        for start, end in zip([-1, *ends[:-1]], ends, strict=True):
            assert lengths[b, end] == end - start
    np.testing.assert_array_equal(steps.info["returned_episode"], steps.done)
    np.testing.assert_array_equal(steps.info["returned_episode_returns"], lengths)


def test_how_the_steps_are_cut_into_rollouts_does_not_change_types():
    start, after, _ = roll(LooselyTyped())
    assert jax.tree.map(lambda x: (x.shape, x.dtype, x.weak_type), start) == jax.tree.map(
        lambda x: (x.shape, x.dtype, x.weak_type), after
    )
    assert after.env_state["reward"].dtype == jnp.float32
    assert after.env_state["time"].dtype == jnp.int32


@pytest.mark.parametrize("where", ["observation", "info"])
def test_an_action_mask_ends_up_in_the_observation(where):
    _, after, steps = roll(Masked(where))
    mask = np.asarray(steps.observation["action_mask"])
    assert mask.shape == (NUM_ENVS, NUM_STEPS, 3)
    time = np.asarray(steps.observation["time" if where == "observation" else "observation"][..., 0]).astype(int)
    later = np.arange(NUM_STEPS) > 0
    started = np.asarray(steps.inputs.done)
    expected = np.where((where == "info") & started[..., None], True, np.arange(3) == time[..., None] % 3)
    np.testing.assert_array_equal(mask[:, later], expected[:, later])
    assert after.timestep.observation["action_mask"].dtype == bool


@pytest.mark.parametrize(
    ("bounded", "action", "expected"),
    [(True, [-1.0, 0.0, 1.0], [-3.0, 0.5, 4.0]), (False, [-9.0, 0.25, 9.0], [-3.0, 0.25, 4.0])],
)
def test_continuous_actions_are_stretched_or_clipped_to_the_space(bounded, action, expected):
    vector_env = VectorEnv(Clock(action_space=Box(-3.0, 4.0, (1,))), None, NUM_ENVS, bounded=bounded)
    np.testing.assert_allclose(vector_env.to_env(jnp.asarray(action)[:, None])[:, 0], expected)


def test_seeds_side_by_side_value_final_observations_only_where_there_are_some():
    def one(truncated):
        return bootstrap(lambda carry, final: carry, jnp.ones(NUM_ENVS), None, truncated)

    program = str(jax.make_jaxpr(jax.vmap(one))(jnp.zeros((2, NUM_ENVS), bool)))
    # A `cond` on a flag of its own for every seed would turn into a `select` that computes both sides.
    assert " cond[" in program
    flags = jnp.asarray([[False] * NUM_ENVS, [True, False, True]])
    np.testing.assert_array_equal(jax.vmap(one)(flags), flags)


def test_rewards_of_any_number_type_arrive_as_float32():
    _, _, steps = roll(LooselyTyped())
    assert steps.reward.dtype == jnp.float32


def test_discrete_actions_arrive_in_the_dtype_of_their_space():
    seen = VectorEnv(Clock(action_space=Discrete(2, jnp.int8)), None, 3).to_env(jnp.asarray([0, 1, 1], jnp.int32))
    assert seen.dtype == jnp.int8
    np.testing.assert_array_equal(seen, [0, 1, 1])
