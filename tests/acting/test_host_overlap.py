"""Acting while learning, in environments that run in Python."""

import threading
from functools import partial
from typing import Any

import jax
import numpy as np
import pytest
from tests import example_agents
from tests.acting.test_host import BUILDERS, KEYS, TRAIN, assert_same
from tests.environments.host.toys import Breaking, Walk

from memorax import lox
from memorax.acting import host_programs as programs
from memorax.environments import HostEnvironmentError, as_host

UPDATES = 4


def overlapping(env: Any = Walk, **options: Any) -> Any:
    return as_host(partial(env), overlap=True, **options)


def by_hand(agent: Any, state: Any) -> Any:
    """Each rollout acted with the learner of one update before, each learned from in order."""
    runner = agent.host
    act_with = state
    for _ in range(UPDATES):
        act_keys, learn_key = runner.compiled(programs.split_key, 1)(TRAIN, state)
        ahead = state.replace(learner=act_with.learner, scales=act_with.scales)
        loops, kept = runner._interact(act_keys, ahead, agent.collect_steps, "explore")
        act_with = state
        state, _ = runner.compiled(programs.learn)(learn_key, state.replace(loop=None), state.loop, loops, kept)
    return state


@pytest.mark.parametrize("name", ["ppo", pytest.param("r2d2", marks=pytest.mark.slow)])
def test_rollouts_are_acted_with_the_parameters_of_one_update_before(name):
    agent, twin = BUILDERS[name](overlapping()), BUILDERS[name](as_host(partial(Walk)))
    state, logs = lox.spool(agent.train)(TRAIN, agent.init(KEYS), UPDATES * agent.steps_per_update)
    wanted = by_hand(twin, twin.init(KEYS))
    assert_same(state, wanted)
    assert logs["returned_episode"].shape == (2, UPDATES * agent.collect_steps, agent.vector_env.num_envs)
    assert {leaf.devices() == wanted.step.low.devices() for leaf in jax.tree.leaves(state)} == {True}
    in_turn = twin.train(TRAIN, twin.init(KEYS), UPDATES * agent.steps_per_update)
    assert any(
        not np.allclose(x, y)
        for x, y in zip(jax.tree.leaves(state.learner), jax.tree.leaves(in_turn.learner), strict=True)
    ), "the parameters must lag behind"
    agent.close()
    twin.close()


class Counting(Walk):
    """Counts the steps of all its copies, and tells when there are many."""

    steps, enough, reached = 0, 0, threading.Event()

    def step(self, action: Any) -> Any:
        Counting.steps += 1
        if Counting.steps >= Counting.enough:
            Counting.reached.set()
        return super().step(action)


@pytest.mark.parametrize("overlap", [True, False])
def test_environments_step_while_the_learner_learns(overlap):
    agent = example_agents.ppo(as_host(partial(Counting), overlap=overlap), num_envs=2)
    state = agent.init(TRAIN[0])
    Counting.steps, Counting.enough = 0, agent.steps_per_update + 1
    Counting.reached.clear()
    program, waited = agent.host.compiled(programs.learn, donate=(1,)), []

    def slowly(*arguments: Any) -> Any:
        waited.append(Counting.reached.wait(timeout=20 if overlap else 0.1))
        return program(*arguments)

    agent.host.compiled._programs[(programs.learn,)] = slowly
    agent.train(TRAIN[0], state, 2 * agent.steps_per_update)
    agent.close()
    assert waited[0] == overlap


def test_an_error_leaves_what_was_learned_from_all_complete_rollouts():
    agent = example_agents.ppo(overlapping(partial(Breaking, after=2 * 8 + 3), name="Robot"), num_envs=2)
    state = agent.init(KEYS)
    with pytest.raises(HostEnvironmentError, match=r"Robot failed in step 19") as error:
        agent.train(TRAIN, state, 10 * agent.steps_per_update)
    assert error.value.steps == 2 * agent.steps_per_update
    assert error.value.state.step.low.tolist() == [error.value.steps] * 2
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("memorax-learner")]


def test_an_error_of_the_learner_is_raised():
    agent = example_agents.ppo(overlapping(), num_envs=2)
    state = agent.init(TRAIN[0])

    def broken(*_: Any) -> Any:
        raise FloatingPointError("no number")

    agent.host.compiled._programs[(programs.learn,)] = broken
    with pytest.raises(FloatingPointError, match="no number"):
        agent.train(TRAIN[0], state, 3 * agent.steps_per_update)
    agent.close()


def test_an_algorithm_that_learns_from_every_step_refuses():
    with pytest.raises(ValueError, match="`overlap` of Walk must be False for StreamAC, which learns from every step"):
        example_agents.stream_ac(overlapping())
    with pytest.raises(TypeError, match="`overlap` must be"):
        as_host(partial(Walk), overlap=2)
