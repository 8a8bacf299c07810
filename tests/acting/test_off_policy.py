"""The off-policy driver, under an algorithm that only counts and a replay that keeps everything."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.assertions import assert_equal

from memorax.acting import OffPolicy, crosses
from memorax.buffers import get_full_start_flags, make_episode_buffer, make_prioritised_episode_buffer
from memorax.testing.algorithm_properties import does_not_depend_on_how_it_is_split, keeps_its_types
from memorax.testing.probe_environments import Clock

CAPACITY = 200


class Config(NamedTuple):
    num_envs: int = 3
    train_frequency: int = 2


class Sample(NamedTuple):
    experience: object
    indices: jax.Array


class Tape:
    """Keeps the last steps of every environment; draws the newest, once there are enough."""

    def __init__(self, enough=0):
        self.enough = enough

    def init(self, item):
        rows = Config().num_envs
        steps = jax.tree.map(lambda x: jnp.zeros((rows, CAPACITY, *x.shape), x.dtype), item)
        return {"steps": steps, "size": jnp.zeros((), jnp.int32), "priority": jnp.zeros(CAPACITY)}

    def add(self, state, batch):
        length = jax.tree.leaves(batch)[0].shape[1]
        steps = jax.tree.map(lambda old, new: jnp.concatenate([old[:, length:], new], axis=1), state["steps"], batch)
        return state | {"steps": steps, "size": state["size"] + length}

    def sample(self, state, key):
        return Sample(jax.tree.map(lambda x: x[:, -2:], state["steps"]), jnp.asarray([CAPACITY - 1]))

    def can_sample(self, state):
        return state["size"] >= self.enough

    def set_priorities(self, state, indices, priorities):
        return state | {"priority": state["priority"].at[indices].set(priorities)}


class Counter(OffPolicy):
    """Counts updates and refreshes of a target."""

    def __init__(self, config, env, env_params, buffer):
        super().__init__(config, env, env_params)
        self.use_buffer(buffer, store_carry=True)

    def record(self, transition):
        return transition.replace(info={})

    def initialize_carry(self, key, batch):
        return jnp.zeros(batch, jnp.int32)

    def init_learner(self, key, rollout_state):
        zero = jnp.zeros((), jnp.int32)
        return {"noise": jnp.zeros(2), "updates": zero, "refreshes": zero, "newest": zero}

    def policy(self, learner, step, behavior):
        def act(key, carry, timestep):
            carry = jnp.where(timestep.done, 0, carry) + 1
            return (
                carry,
                jax.random.randint(key, carry.shape, 0, 3),
                {"random": jnp.full(carry.shape, behavior == "random")},
            )

        return act

    def learn(self, key, learner, sample, step):
        newest = sample.experience.aux["random"].sum() + jnp.max(sample.experience.carry[:, -1])
        refresh = crosses(step, self.config.train_frequency, 7)
        learner = {
            "noise": learner["noise"] + jax.random.normal(key, (2,)),
            "updates": learner["updates"] + 1,
            "refreshes": learner["refreshes"] + refresh,
            "newest": newest.astype(jnp.int32),
        }
        return learner, jnp.asarray([3.0])


def counter(buffer):
    return Counter(Config(), Clock(), None, buffer)


@pytest.fixture(scope="module")
def agent():
    return counter(Tape())


def test_one_update_per_train_frequency_transitions_and_targets_by_the_clock(agent):
    assert (agent.collect_steps, agent.num_updates) == (2, 3)
    key = jax.random.key(0)
    state = agent.train(key, agent.init(key), 24)
    assert state.step == 24
    assert state.learner["updates"] == 12
    assert state.learner["refreshes"] == 24 // 7
    assert state.buffer["size"] == 8


def test_priorities_reach_the_replay(agent):
    key = jax.random.key(0)
    state = agent.train(key, agent.init(key), 12)
    np.testing.assert_array_equal(state.buffer["priority"][-2:], [0.0, 3.0])


def test_the_replay_holds_what_happened_in_order(agent):
    key = jax.random.key(0)
    buffer = agent.train(key, agent.init(key), 24).buffer
    steps = jax.tree.map(lambda x: x[:, -8:], buffer["steps"])
    np.testing.assert_array_equal(steps.inputs.done[:, 1:], steps.done[:, :-1])
    # The stored memory is the one before the step: it has counted the episode's earlier observations.
    later = ~np.asarray(steps.inputs.done)
    np.testing.assert_array_equal(steps.carry[later], steps.observation[..., 0][later])
    assert not steps.aux["random"].any()


def test_warmup_acts_at_random_remembers_and_does_not_learn(agent):
    key = jax.random.key(0)
    start = agent.init(key)
    state = agent.warmup(key, start, 13)
    assert state.step == 12
    assert state.buffer["size"] == 4
    assert state.buffer["steps"].aux["random"][:, -4:].all()
    assert_equal(state.learner, start.learner)
    assert (np.asarray(state.loop.carry) > 0).all()
    assert_equal(agent.warmup(key, start, 0), start)


@pytest.mark.parametrize("holds", [keeps_its_types, does_not_depend_on_how_it_is_split], ids=lambda f: f.__name__)
def test_promises(agent, holds):
    holds(agent)


def test_evaluation_never_touches_the_replay(agent):
    key = jax.random.key(0)
    state = agent.train(key, agent.init(key), 12)
    assert_equal(agent.evaluate(key, state, num_steps=5), state)


def test_nothing_is_learned_before_the_replay_can_be_sampled():
    agent, key = counter(Tape(enough=5)), jax.random.key(0)
    start = agent.init(key)
    state = agent.train(key, start, 12)
    assert state.buffer["size"] == 4
    assert_equal(state.learner, start.learner)
    assert np.isnan(state.buffer["priority"]).sum() == 1  # what leaves a priority as it is
    state = agent.train(key, state, 12)
    assert state.learner["updates"] == 6
    assert state.buffer["priority"][-1] == 3.0


def test_the_replay_is_not_given_what_was_only_logged(agent):
    assert agent.init(jax.random.key(0)).buffer["steps"].info == {}


def test_what_is_no_buffer_is_refused():
    with pytest.raises(TypeError, match=r"`buffer` must have .* got object without init, add, sample, can_sample"):
        counter(object())


def test_a_buffer_for_other_environments_is_refused():
    buffer = make_episode_buffer(100, 10, 2, 4, add_batch_size=5)
    with pytest.raises(ValueError, match=r"`num_envs` \(3\), got 5; make it with `add_batch_size=3`"):
        counter(buffer)


def test_an_episode_buffer_keeps_what_happened():
    buffer = make_prioritised_episode_buffer(60, 3, 1, 2, get_full_start_flags, add_batch_size=3)
    agent, key = counter(buffer), jax.random.key(0)
    state = agent.train(key, agent.init(key), 60)
    assert state.learner["updates"] == 30
    kept = jax.vmap(agent.buffer.sample, (None, 0))(state.buffer, jax.random.split(key, 16)).experience
    later = ~np.asarray(kept.inputs.done[:, 0, 0])
    assert 0 < later.sum() < 16
    np.testing.assert_array_equal(kept.carry[later, 0, 0], kept.observation[later, 0, 0, 0])
    assert state.buffer.max_recorded_priority.max() == pytest.approx(3.0**0.6)
