"""Every registered algorithm under `shard_map`, donation, `disable_jit` and the search for leaked tracers."""

import copy
import gc
import pickle
import threading
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests import example_agents as agents
from tests.assertions import assert_equal
from tests.copied_tasks import Copies

from memorax import lox
from memorax.acting.compiled import HoldsPrograms, compiled
from memorax.algorithms import ALGORITHMS, PPO
from memorax.testing.probe_environments import Clock
from memorax.testing.transform_properties import (
    PROPERTIES,
    leaks_no_tracers,
    traces_inside_shard_map,
    trains_in_donated_memory,
    trains_without_compilation,
)

KEY = jax.random.key(0)
QUICK = (traces_inside_shard_map, leaks_no_tracers, trains_in_donated_memory)
TINY = {"num_envs": 2, "num_steps": 2, "num_minibatches": 1, "update_epochs": 1, "truncation_length": 2}
REPLAYED = {"train_frequency": 2, "batch_size": 2}


def tiny(name, cls=None):
    """A small agent of a registered algorithm, whose episodes end in both ways."""
    make = getattr(agents, name)
    env = Clock("both", 1, 3)
    known = ALGORITHMS.get(name)[1].__dataclass_fields__
    fields = {field: value for field, value in (TINY | REPLAYED).items() if field in known}
    return make(Copies(env, 2) if name == "mappo" else env, **fields, **({} if cls is None else {"cls": cls}))


def marked(name, holds):
    quick = {"ppo": QUICK, "r2d2": QUICK[:1]}.get(name, ())
    return pytest.param(name, holds, marks=[] if holds in quick else [pytest.mark.slow])


@pytest.mark.parametrize(("name", "holds"), [marked(name, holds) for name in ALGORITHMS for holds in PROPERTIES])
def test_transformations(name, holds):
    holds(tiny(name))


class Summing(PPO):
    """Begins a loop with a constant, which does not vary over devices, and goes on with what does."""

    def learn(self, key, learner, trajectory, *rest):
        total, _ = jax.lax.scan(lambda total, x: (total + x[0], None), jnp.float32(0.0), trajectory.aux["value"])
        return super().learn(key, learner, trajectory.replace(reward=trajectory.reward + total), *rest)


class Leaking(PPO):
    """Keeps what it saw while it was traced."""

    def learn(self, key, learner, trajectory, *rest):
        self.seen = key
        return super().learn(key, learner, trajectory, *rest)


class Restarting(PPO):
    """Throws away what came before."""

    def train(self, key, state, num_steps):
        return super().train(key, state.replace(loop=jax.tree.map(jnp.zeros_like, state.loop)), num_steps)


class Peeking(PPO):
    """Learns something else where it is not compiled."""

    def learn(self, key, learner, trajectory, *rest):
        bonus = 0.0 if isinstance(trajectory.reward, jax.core.Tracer) else 5.0
        return super().learn(key, learner, trajectory.replace(reward=trajectory.reward + bonus), *rest)


@pytest.mark.parametrize(
    ("mutant", "holds", "error"),
    [
        (Summing, traces_inside_shard_map, "`shard_map` must be able to trace"),
        (Restarting, trains_in_donated_memory, "the whole state must be donated"),
        pytest.param(Leaking, leaks_no_tracers, "Leaked", marks=pytest.mark.slow),
        pytest.param(Peeking, trains_without_compilation, "Not equal", marks=pytest.mark.slow),
    ],
)
def test_what_breaks_them_is_found(mutant, holds, error):
    with pytest.raises(Exception, match=error):
        holds(tiny("ppo", mutant))


@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n == "ppo" else [pytest.mark.slow]) for n in ALGORITHMS])
def test_an_agent_that_is_dropped_is_freed(name):
    key, agent = jax.random.key(0), tiny(name)
    state = agent.init(key)
    state, _ = lox.spool(agent.train)(key, state, agent.steps_per_update)
    agent.train(key, agent.evaluate(key, state, num_steps=2), num_steps=agent.steps_per_update)
    reference = weakref.ref(agent)
    del agent
    gc.collect()
    assert reference() is None


class Holder(HoldsPrograms):
    """Has a compiled method, and counts how often it is traced."""

    def __init__(self, factor):
        self.factor, self.traced = factor, []

    @compiled
    def scale(self, x, num_steps=2):
        """Multiply."""
        self.traced.append(num_steps)
        return self.factor * x * num_steps


def test_programs_are_compiled_once_per_object_and_number():
    holder = Holder(3.0)
    calls = [
        holder.scale(jnp.ones(2)),
        holder.scale(x=jnp.ones(2), num_steps=2),
        holder.scale(jnp.ones(2), np.int64(2)),
    ]
    assert_equal(calls, [jnp.full(2, 6.0)] * 3)
    assert holder.scale(jnp.ones(2), num_steps=5)[0] == 15.0
    assert holder.traced == [2, 5]


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_a_copy_has_programs_of_its_own(again):
    holder = Holder(3.0)
    assert holder.scale(jnp.ones(())) == 6.0
    other = again(holder)
    other.factor = 5.0
    assert (other.scale(jnp.ones(())), holder.scale(jnp.ones(()))) == (10.0, 6.0)


def test_threads_share_the_programs():
    holder, found = Holder(3.0), []
    threads = [threading.Thread(target=lambda: found.append(float(holder.scale(jnp.ones(()))))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [6.0] * 4


@pytest.mark.parametrize(
    ("number", "kind", "error"),
    [
        (2.0, TypeError, "`num_steps` must be an integer( or None)?, got 2.0; write 2"),
        (True, TypeError, "`num_steps` must be an integer( or None)?, got True"),
        (np.ones(2), TypeError, "`num_steps` must be an integer( or None)?, got"),
        (-3, ValueError, "`num_steps` must be at least 1( or None)?, got -3"),
        (0, ValueError, "`num_steps` must be at least 1( or None)?, got 0"),
    ],
)
def test_numbers_of_steps_are_refused_by_name(number, kind, error):
    agent = tiny("ppo")
    state = jax.eval_shape(agent.init, jax.random.key(0))
    for method in (agent.rollout, agent.evaluate, lox.spool(agent.rollout)):
        with pytest.raises(kind, match=error):
            jax.eval_shape(lambda key, state, method=method: method(key, state, num_steps=number), KEY, state)


@pytest.mark.parametrize("name", ["ppo", "dqn"])
def test_a_warmup_of_less_than_nothing_is_refused(name):
    agent = tiny(name)
    state = jax.eval_shape(agent.init, KEY)
    with pytest.raises(ValueError, match="`num_steps` must be at least 0, got -1"):
        jax.eval_shape(lambda key, state: agent.warmup(key, state, -1), KEY, state)


def test_a_number_that_is_traced_is_refused_by_name():
    agent = tiny("ppo")
    state = jax.eval_shape(agent.init, KEY)
    with pytest.raises(TypeError, match=r"`num_steps` must be an integer, got .*; a size must be known before tracing"):
        jax.eval_shape(agent.train, KEY, state, jnp.int32(64))
